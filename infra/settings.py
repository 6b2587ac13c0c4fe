"""What a deployment may choose, from CDK's context: `-c name=...`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from pricer.contracts import suggest
from pricer.errors import SpecError
from pricer.stacks import STACK

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = ("warm_write_units", "keep_days")
LEAST_WARM = 4000
ARCHITECTURES = ("x86_64", "arm64")
# A state machine's name has at most 80 characters, a stack's is made of these.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,79}")
# Of the stacks beside the one of the name.
BESIDE = ("-data", "-build")


@dataclass(frozen=True, slots=True)
class Settings:
    """Two deployments of different `name` share nothing.

    `base_image` is what the worker's image is built from, the Dockerfile's default if empty.
    `warm_write_units` is the writes a second that the table takes at once, DynamoDB's default if 0.
    `keep_days` is how long a run is kept at most.
    """

    name: str = STACK
    architecture: str = "x86_64"
    base_image: str = ""
    warm_write_units: int = 0
    keep_days: int = 90

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecError(
                "name: must be at most 80 letters, digits and hyphens and begin with a letter,"
                f" got {self.name!r}"
            )
        if self.name.endswith(BESIDE):
            raise SpecError(
                f"name: must not end in {' or '.join(BESIDE)}, as stacks that belong to another do,"
                f" got {self.name!r}"
            )
        if self.architecture not in ARCHITECTURES:
            choices = ", ".join(ARCHITECTURES)
            raise SpecError(f"architecture: must be one of {choices}, got {self.architecture!r}")
        if 0 < self.warm_write_units < LEAST_WARM:
            raise SpecError(
                f"warm_write_units: must be at least {LEAST_WARM}, what any table takes, got"
                f" {self.warm_write_units}"
            )
        if self.keep_days < 1:
            raise SpecError(f"keep_days: must be at least 1, got {self.keep_days}")

    def choices(self) -> dict[str, str]:
        """Return what is not the default but for the name, as a context that gives it again."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        usual = {f.name: f.default for f in fields(self)}
        return {name: str(value) for name, value in given.items() if value != usual[name]}

    @classmethod
    def of(cls, context: Mapping[str, str]) -> Settings:
        """Read what the context gives as text; what it gives empty, or not, has its default."""
        names = [f.name for f in fields(cls)]
        for name in context:
            if name not in names:
                raise SpecError(f"{name}: must be one of {', '.join(names)}{suggest(name, names)}")
        given: dict[str, Any] = {name: text for name, text in context.items() if text}
        for name in NUMBERS:
            if name in given:
                given[name] = _number(name, given[name])
        return cls(**given)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise SpecError(f"{name}: must be a whole number, got {text!r}")
    return int(text)
