"""What a shell offers where a word is begun: runs, measures, axes. Nothing here fails or prints."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem, split_arg_string

from .errors import PricerError
from .settings import EVERY_MEASURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import click

    from .stores import Store

    Document = dict[str, Any]
    Items = list[CompletionItem]
    Complete = Callable[[click.Context, click.Parameter, str], Items]
    Find = Callable[[click.Context, str], Iterable[CompletionItem]]

# More of an axis than this is no list to choose from.
MOST_VALUES = 1000


def _quietly(find: Find) -> Complete:
    """Offer what `find` yields and the word begins with; nothing where anything fails."""

    @wraps(find)
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        del param
        try:
            return [item for item in find(ctx, incomplete) if item.value.startswith(incomplete)]
        except Exception:
            # Whatever it is, the command says it; a shell would show it amid what is typed.
            return []

    return complete


def among(words: Iterable[str]) -> Complete:
    """Offer these words."""
    items = [CompletionItem(word) for word in words]
    return _quietly(lambda ctx, incomplete: items)


@_quietly
def run_ids(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer the runs of a store on this machine, as short as tables show them."""
    from .stores import LATEST, SHORT_ID

    runs = _store(ctx).runs()
    if runs:
        yield CompletionItem(LATEST, help=runs[0].name)
    for run in runs:
        shown = run.run_id[: max(SHORT_ID, len(incomplete))]
        yield CompletionItem(shown, help=f"{run.name}, {run.cells:,} cells")


@_quietly
def measures(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer measures after those that are typed: those of the run, where one is named."""
    typed, comma, _ = incomplete.rpartition(",")
    names = list(EVERY_MEASURE)
    if "run" in ctx.params:
        with suppress(PricerError, LookupError):
            names = _measures(_plan(*_run(ctx)))
    for name in names:
        if name not in typed.split(","):
            yield CompletionItem(f"{typed}{comma}{name}")


@_quietly
def selections(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer what a query can select on, with its values where they are few."""
    name, equals, begun = incomplete.partition("=")
    split = _split_by_bash()
    if split:
        name, begun = split, incomplete
    store, run_id = _run(ctx)
    plan = _plan(store, run_id)
    match plan["kind"]:
        case "grid":
            found = _axes(plan)
        case "panel":
            found = _panel(store.files(run_id), name, begun)
        case _:
            found = ((column, []) for column in _columns(plan))
    for axis, values in found:
        # A shell would take a blank for the end of the word.
        texts = [value for value in values if " " not in value]
        if split or equals:
            if axis == name:
                yield from (CompletionItem(v if split else f"{axis}={v}") for v in texts)
        elif axis.startswith(name):
            yield from (CompletionItem(f"{axis}={v}") for v in texts or [""])


@_quietly
def drawable(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer what a run can be drawn along: axes of several values, columns of a book."""
    del incomplete
    yield from map(CompletionItem, _drawable(_plan(*_run(ctx))))


@_quietly
def drawn(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer what can be drawn of a run: measures, the error, columns of a book."""
    del incomplete
    plan = _plan(*_run(ctx))
    columns = _drawable(plan) if plan["kind"] == "book" else []
    yield from map(CompletionItem, [*_measures(plan), "error", *columns])


def _split_by_bash() -> str:
    """Return the axis whose value is begun: bash splits ``spot=10`` into three words."""
    words = split_arg_string(os.environ.get("COMP_WORDS", ""))
    words = words[: int(os.environ.get("COMP_CWORD", "0")) + 1]
    for equals in (-1, -2):
        if words[equals:][:1] == ["="] and len(words) > 1 - equals:
            return words[equals - 1]
    return ""


def _axes(plan: Document) -> Iterator[tuple[str, list[str]]]:
    """Yield the axes of the grid that a plan describes, and their values as they are typed."""
    from .grid import Grid

    for axis in Grid.of_identity(plan["spec"], "", plan.get("labels", {})).axes:
        values = axis.shown[:MOST_VALUES]
        yield axis.name, [v if isinstance(v, str) else f"{v:.15g}" for v in values]


def _columns(plan: Document) -> list[str]:
    return ["row", *plan["spec"]["columns"]]


def _drawable(plan: Document) -> list[str]:
    match plan["kind"]:
        case "grid":
            return [axis for axis, values in _axes(plan) if len(values) > 1]
        case "book":
            return _columns(plan)
    return []


def _measures(plan: Document) -> list[str]:
    """Return the measures of a run, in the order of tables where there is one."""
    names = plan["spec"]["measures"]
    return sorted(names, key=lambda name: (*EVERY_MEASURE, *names).index(name))


def _panel(files: dict[str, bytes], name: str, begun: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what tells the cells of a panel apart; of firms and dates only if that is begun."""
    import numpy as np

    from .panel import iso_dates
    from .plan import Plan
    from .stores import PLAN

    panel: Any = Plan.from_json(files.pop(PLAN).decode(), files).spec
    yield "firm", _few(panel.firms.tolist(), begun) if name == "firm" else []
    yield "date", _few(iso_dates(np.unique(panel.dates)).tolist(), begun) if name == "date" else []
    yield "horizon", [f"{years:.15g}" for years in panel.horizons.tolist()]


def _few(values: Iterable[str], begun: str) -> list[str]:
    """Return the values that begin so, unless they are too many to choose from."""
    found = [value for value in values if value.startswith(begun)]
    return found if len(found) <= MOST_VALUES else []


def _run(ctx: click.Context) -> tuple[Store, str]:
    """Return the store of the run that is named, and its id."""
    from .stores import find_run

    store = _store(ctx)
    # Before an option that has no value yet, click leaves arguments where it found them.
    named = ctx.params["run"] or ctx.args[0]
    return store, find_run(store, named).run_id


def _plan(store: Store, run_id: str) -> Document:
    """Return what is stored of a plan, without rebuilding it or reading the columns of a book."""
    from .stores import PLAN

    plan: Document = json.loads(store.files(run_id, PLAN)[PLAN])
    return plan


def _store(ctx: click.Context) -> Store:
    """Open the store on this machine that the command line means; AWS would take too long."""
    from .run import as_store, default_store_url
    from .stores import DYNAMODB

    url = ctx.params.get("store")
    on = ctx.params.get("on") or ("" if url else os.environ.get("PRICER_ON", "").strip())
    if on == "aws" or (url or default_store_url()).startswith(DYNAMODB):
        raise LookupError("on AWS")
    return as_store(url)
