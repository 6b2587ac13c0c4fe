"""What a command answers: one document, printed as JSON or laid out for a person."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .tables import Table

    Document = Mapping[str, Any]
    View = Callable[..., Any]


def show(document: Document, view: View, *, as_json: bool, table: Table | None = None) -> None:
    """Print `document` as JSON, or as `view` lays it out."""
    if as_json:
        import click

        click.echo(json_of(document))
        return
    from .screen import Trimmed, console

    out = console()
    for part in view(document) if table is None else view(document, table, out.width):
        out.print(Trimmed(part))


def json_of(document: Document, *, indent: int | None = 2) -> str:
    """Return a document as JSON, which has no NaN and no infinity; on one line if no `indent`."""
    return json.dumps(finite(document), indent=indent, ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Return what of a document JSON can hold: None for what is not finite."""
    match value:
        case dict():
            return {name: finite(part) for name, part in value.items()}
        case list() | tuple():
            return [finite(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value
