"""One option as a JSON object asks for it: inputs as grid files have them, and settings."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

from pricer.contracts import (
    INPUTS,
    TYPES,
    code_of,
    defaults_of,
    inputs_of,
    suggest,
    with_article,
)
from pricer.errors import SpecError
from pricer.gridvalues import value_of
from pricer.settings import Settings

from .errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BODY_BYTES = 65_536
MOST_PATHS, LEAST_TOLERANCE = 2**20, 1e-8
SETTINGS = tuple(f.name for f in fields(Settings))


def parse(body: bytes) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the type, the inputs and the settings of the option that a JSON object asks for.

    Raises
    ------
    SpecError
        Where it cannot be meant: names the key, the rule and the value got.
    TooLargeError
        Where a server could be kept busy by it.
    """
    asked = _object(body)
    kind = tuple(TYPES)[code_of("type", asked.pop("type", "vanilla"))]
    known = inputs_of(kind)
    for name in asked:
        if name not in known and name not in SETTINGS:
            _refuse(name, kind)
    inputs = {name: value_of(name, name, asked[name]) for name in asked if name in known}
    _check_given(kind, inputs)
    settings = {name: asked[name] for name in asked if name in SETTINGS}
    _check_settings(settings)
    return kind, inputs, settings


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BODY_BYTES:
        raise TooLargeError(f"body: must be at most {MOST_BODY_BYTES:,} bytes, got {len(body):,}")
    try:
        asked = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise SpecError("body: is nested too deeply") from None
    except ValueError as error:
        raise SpecError(f"body: must be JSON: {error}") from None
    if not isinstance(asked, dict):
        raise SpecError(f"body: must be a JSON object, got {type(asked).__name__}")
    return {name: value for name, value in asked.items() if value is not None}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it has no {name}")


def _check_given(kind: str, inputs: Mapping[str, Any]) -> None:
    needed = [name for name in inputs_of(kind) if name not in defaults_of(kind)]
    if inputs.get("model") == "heston":
        needed.remove("vol")
    if missing := [name for name in needed if name not in inputs]:
        raise SpecError(f"missing {', '.join(missing)}")


def _check_settings(settings: dict[str, Any]) -> None:
    """Raise where these settings are none, or ask for too much."""
    if "measures" in settings:
        if not isinstance(settings["measures"], list):
            raise SpecError(f"measures: must be a list of names, got {settings['measures']!r}")
        settings["measures"] = tuple(settings["measures"])
    checked = Settings(**settings)
    if checked.paths > MOST_PATHS:
        raise TooLargeError(f"paths: must be at most {MOST_PATHS:,} here, got {checked.paths:,}")
    if checked.tolerance < LEAST_TOLERANCE:
        raise TooLargeError(
            f"tolerance: must be at least {LEAST_TOLERANCE:g} here, got {checked.tolerance:g}"
        )


def _refuse(name: str, kind: str) -> NoReturn:
    types = [other for other in TYPES if name in inputs_of(other)]
    if types:
        raise SpecError(f"{name} is not for {with_article(kind)}: add type {' or '.join(types)}")
    raise SpecError(f"{name}: is not an input{suggest(name, ('type', *INPUTS, *SETTINGS))}")
