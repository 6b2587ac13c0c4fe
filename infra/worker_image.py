"""The image that all functions run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as assets

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

ROOT = Path(__file__).parents[1]
# Everything else could change without the image.
CONTEXT = ("infra/Dockerfile", "kernels", "pricer", "requirements/worker.txt")
EXCLUDE = ["*", *(f"!{path}" for path in CONTEXT), "**/__pycache__"]


class WorkerImage(assets.DockerImageAsset):
    """Built at deployment, and again only when something changes that is in it."""

    def __init__(self, scope: Construct, construct_id: str, settings: Settings) -> None:
        arm = settings.architecture == "arm64"
        super().__init__(
            scope,
            construct_id,
            directory=str(ROOT),
            file="infra/Dockerfile",
            exclude=EXCLUDE,
            ignore_mode=IgnoreMode.DOCKER,
            platform=assets.Platform.LINUX_ARM64 if arm else assets.Platform.LINUX_AMD64,
            build_args={"BASE_IMAGE": settings.base_image} if settings.base_image else None,
        )
