"""The image that all functions run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as assets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from constructs import Construct

    from infra.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = "infra/Dockerfile"


class WorkerImage(assets.DockerImageAsset):
    """Built at deployment, and again only when something changes that is in it."""

    def __init__(self, scope: Construct, construct_id: str, settings: Settings) -> None:
        arm = settings.architecture == "arm64"
        super().__init__(
            scope,
            construct_id,
            directory=str(ROOT),
            file=DOCKERFILE,
            exclude=not_copied(),
            ignore_mode=IgnoreMode.DOCKER,
            platform=assets.Platform.LINUX_ARM64 if arm else assets.Platform.LINUX_AMD64,
            build_args={"BASE_IMAGE": settings.base_image} if settings.base_image else None,
        )


def not_copied() -> list[str]:
    """Return the patterns, as of a .dockerignore, of all that the image is not built from."""
    text = (ROOT / DOCKERFILE).read_text()
    return ["*", *(f"!{path}" for path in (DOCKERFILE, *_copied(text)))]


def _copied(dockerfile: str) -> Iterator[str]:
    """Yield what a Dockerfile copies from its context."""
    for line in dockerfile.replace("\\\n", " ").splitlines():
        match line.split():
            case ["COPY", first, *others] if not first.startswith("--"):
                yield from [first, *others][:-1]
