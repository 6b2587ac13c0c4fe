"""What can be asked of a run: its axes, or its columns, each with the values that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.contracts import CURVES, TABLES, WORDS
from pricer.grid import shown
from pricer.panel import iso_dates
from pricer.plan import BookPlan, GridPlan, PanelPlan
from pricer.selection import book_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pricer.plan import OptionPlan
    from pricer.run import Run

NUMBER, WORD, TABLE, TEXT = "number", "word", "table", "text"
# Of a column of texts, as many different ones as a list to choose from can show.
MOST_TEXTS = 200
# Of the firms of a panel, as many as can be looked up while a name is typed.
MOST_FIRMS = 100_000


def axes_of(run: Run) -> dict[str, Any]:
    """Return what kind of run it is, its axes or columns, its measures and how it was priced."""
    match plan := run.plan:
        case GridPlan():
            described = _grid(plan) | _priced(plan)
        case BookPlan():
            described = _book(plan) | _priced(plan)
        case _:
            assert isinstance(plan, PanelPlan)
            described = _panel(plan)
    return {
        "run": run.id,
        "name": run.head.name,
        "cells": run.head.cells,
        "measures": list(plan.measures),
        **described,
    }


def _priced(plan: OptionPlan) -> dict[str, Any]:
    names = ("method", "tolerance", "seed", "sampling", "paths")
    return {name: getattr(plan.settings, name) for name in names}


def _grid(plan: GridPlan) -> dict[str, Any]:
    grid = plan.spec
    axes = [
        {"name": axis.name, "kind": _kind(axis.name, axis.shown), "values": list(axis.shown)}
        for axis in grid.axes
    ]
    fixed = {name: shown(value) for name, value in grid.fixed.items()}
    return {"kind": "grid", "type": grid.type, "axes": axes, "fixed": fixed}


def _kind(name: str, values: tuple[str | float, ...]) -> str:
    """Say how values of an input are to be read: an axis of curves may have numbers too."""
    if name in WORDS:
        return WORD
    return TABLE if any(isinstance(value, str) for value in values) else NUMBER


def _book(plan: BookPlan) -> dict[str, Any]:
    table = book_columns(plan.spec, slice(None))
    return {"kind": "book", "columns": [_column(n, values) for n, values in table.items()]}


def _panel(plan: PanelPlan) -> dict[str, Any]:
    panel = plan.spec
    dates = iso_dates(np.unique(panel.dates))
    columns = [
        _column("firm", panel.firms, MOST_FIRMS),
        _column("date", dates) | {"min": str(dates[0]), "max": str(dates[-1])},
        _column("horizon", panel.horizons) | {"values": panel.horizons.tolist()},
    ]
    windows = panel.windows
    return {"kind": "panel", "columns": columns, "window": windows.window, "step": windows.step}


def _column(name: str, values: NDArray[Any], most: int | None = None) -> dict[str, Any]:
    if values.dtype.kind in "if":
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        return {"name": name, "kind": NUMBER, "min": ends[0], "max": ends[1]}
    kind = WORD if name in WORDS else TABLE if name in TABLES or name in CURVES else TEXT
    distinct = sorted(set(values.tolist()))
    return {
        "name": name,
        "kind": kind,
        "distinct": len(distinct),
        "values": distinct[: most or MOST_TEXTS],
    }
