"""The commands that draw runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completions, options
from .documents import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

FORMS = ("png", "svg", "pdf", "html")
PICTURE = "FILE.png|svg|pdf|html"


def _axis(flag: str, text: str, **given: Any) -> Callable[[Any], Any]:
    complete = completions.drawable
    return click.option(flag, metavar="NAME", shell_complete=complete, help=text, **given)


@click.command(
    epilog=options.examples(
        "pricer timeline latest",
        "pricer timeline latest --on aws --output chunks.svg",
    )
)
@options.run
@click.option("--output", type=options.PATH, metavar=PICTURE, help="Draw it too.")
@options.where
@options.json
@options.verbose
def timeline(*, run: str, output: Path | None, where: options.Where, as_json: bool) -> None:
    """Show when each chunk of RUN was priced, and by whom."""
    from . import pictures, views
    from .run import open_run
    from .timeline import timeline as timeline_of

    if output:
        pictures.check_drawable(output, FORMS)
    found = timeline_of(open_run(run, where.store()))
    document = found.to_json() | {"output": output and str(output)}
    if output:
        from .pictures.timeline import draw_timeline

        draw_timeline(found, output)
    show(document, views.timeline, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer plot latest --x spot --y price --hue vol --output prices.svg",
        "pricer plot latest --x spot --y gamma --facet expiry right=put --output gamma.html",
        "pricer plot latest --x date --y asset_vol --hue horizon firm=F00001 --output firm.png",
    )
)
@options.run
@click.argument(
    "selection",
    metavar="[AXIS=VALUE|LOW:HIGH]...",
    nargs=-1,
    callback=options.pairs,
    shell_complete=completions.selections,
)
@_axis("--x", "The axis to draw along.", required=True)
@click.option(
    "--y",
    required=True,
    metavar="MEASURE",
    shell_complete=completions.drawn,
    help="What to draw: a measure, or error.",
)
@_axis("--hue", "The axis whose values are lines.", default="")
@_axis("--facet", "The axis whose values are frames.", default="")
@click.option("--output", type=options.PATH, required=True, metavar=PICTURE, help="Where to.")
@options.where
@options.json
@options.verbose
def plot(
    *,
    run: str,
    selection: dict[str, str],
    x: str,
    y: str,
    hue: str,
    facet: str,
    output: Path,
    where: options.Where,
    as_json: bool,
) -> None:
    """Draw a measure of RUN along an axis.

    Axes that are not named are at their middle value. Of a book any columns of numbers are drawn,
    a point for each row; a hue or facet may be any column. Of a panel a firm is selected.
    """
    from . import pictures, views
    from .run import open_run
    from .slices import slice_of

    pictures.check_drawable(output, FORMS)
    found = slice_of(open_run(run, where.store()), x, y, hue=hue, facet=facet, selection=selection)
    from .pictures.slices import draw_slice

    draw_slice(found, output)
    document = {
        "output": str(output),
        "bytes": output.stat().st_size,
        "x": x,
        "y": y,
        "hue": hue or None,
        "facet": facet or None,
        "at": dict(found.at),
        "middle": list(found.middle),
        "points": found.points,
        "largest_error": found.largest_error,
        "not_ok": found.not_ok,
    }
    show(document, views.plotted, as_json=as_json)
