"""What `cdk` runs: composes both stacks, and checks them by cdk-nag's AwsSolutions."""

from __future__ import annotations

import sys

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.service import ServiceStack
from infra.settings import Settings
from infra.storage import StorageStack
from pricer.errors import SpecError


def main() -> None:
    """Synthesise the deployment that the context describes; what breaks a rule raises."""
    app = App()
    context = {name: app.node.try_get_context(name) for name in Settings.names()}
    try:
        settings = Settings.of({name: str(text) for name, text in context.items() if text})
    except SpecError as error:
        sys.exit(f"Error: -c {error}")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    ServiceStack(app, settings, StorageStack(app, settings))
    app.synth()


if __name__ == "__main__":
    main()
