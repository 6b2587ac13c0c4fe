"""What `cdk` runs: composes both stacks, and checks them by cdk-nag's AwsSolutions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.service import ServiceStack
from infra.settings import Settings
from infra.storage import StorageStack
from pricer.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aws_cdk.cx_api import CloudAssembly


def build(*deployments: Settings, outdir: Path | None = None) -> CloudAssembly:
    """Synthesise deployments into `outdir`; what breaks a rule raises."""
    app = App(outdir=str(outdir) if outdir else None)
    return _synth(app, deployments)


def main() -> None:
    """Synthesise the deployment that the context of the `cdk` command describes."""
    app = App()
    context = {name: app.node.try_get_context(name) for name in Settings.names()}
    try:
        settings = Settings.of({name: str(text) for name, text in context.items() if text})
    except SpecError as error:
        sys.exit(f"Error: -c {error}")
    _synth(app, [settings])


def _synth(app: App, deployments: Iterable[Settings]) -> CloudAssembly:
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for settings in deployments:
        ServiceStack(app, settings, StorageStack(app, settings))
    return app.synth()


if __name__ == "__main__":
    main()
