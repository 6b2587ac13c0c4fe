"""What `cdk` runs: composes the stacks, and checks them by cdk-nag's AwsSolutions."""

from __future__ import annotations

import sys

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.build import BuildStack
from infra.service import ServiceStack
from infra.settings import Settings
from infra.storage import StorageStack
from pricer.errors import SpecError


def main() -> None:
    """Synthesise the deployment that the context describes; what breaks a rule raises."""
    app = App()
    # CDK's own have colons and slashes in their names.
    context = {n: str(v) for n, v in app.node.get_all_context().items() if n.isidentifier()}
    try:
        settings = Settings.of(context)
    except SpecError as error:
        sys.exit(f"Error: -c {error}")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    service = ServiceStack(app, settings, StorageStack(app, settings))
    BuildStack(app, settings, service.image)
    app.synth()


if __name__ == "__main__":
    main()
