"""What a shell offers where a word is begun: runs, measures, axes. Nothing here fails or prints."""

from __future__ import annotations

import json
import os
from functools import wraps
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem, split_arg_string

from .settings import EVERY_MEASURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import click

    from .stores import Store, StoredRun

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
    """Offer measures after those that are typed."""
    del ctx
    typed, comma, _ = incomplete.rpartition(",")
    for name in EVERY_MEASURE:
        if name not in typed.split(","):
            yield CompletionItem(f"{typed}{comma}{name}")


@_quietly
def selections(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Offer the axes of a grid with the values they take, or the columns of a book."""
    name, equals, _ = incomplete.partition("=")
    split = _split_by_bash()
    if split:
        name = split
    plan = _plan(ctx)
    if plan["kind"] != "grid":
        if not (split or equals):
            yield from (CompletionItem(f"{n}=") for n in ("row", *plan["spec"]["columns"]))
        return
    for axis, values in _axes(plan):
        if split or equals:
            if axis == name:
                yield from (CompletionItem(v if split else f"{axis}={v}") for v in values)
        elif axis.startswith(name):
            yield from (CompletionItem(f"{axis}={v}") for v in values)


def _split_by_bash() -> str:
    """Return the axis whose value is begun: bash splits ``spot=10`` into three words."""
    words = split_arg_string(os.environ.get("COMP_WORDS", ""))
    words = words[: int(os.environ.get("COMP_CWORD", "0")) + 1]
    for equals in (-1, -2):
        if words[equals:][:1] == ["="] and len(words) > 1 - equals:
            return words[equals - 1]
    return ""


def _axes(plan: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the axes of the grid that a plan describes, and their values as they are typed."""
    from .grid import Grid

    for axis in Grid.of_identity(plan["spec"], "", plan.get("labels", {})).axes:
        texts = [v if isinstance(v, str) else f"{v:.15g}" for v in axis.shown[:MOST_VALUES]]
        # A shell would take a blank for the end of the word.
        yield axis.name, [text for text in texts if " " not in text]


def _plan(ctx: click.Context) -> dict[str, Any]:
    """Return what is stored of the plan of the run, without rebuilding it."""
    from .stores import PLAN, find_run

    store = _store(ctx)
    run: StoredRun = find_run(store, ctx.params["run"])
    plan: dict[str, Any] = json.loads(store.files(run.run_id)[PLAN])
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
