"""A measure along an axis: lines of a grid, points of a book, with errors where these show."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.panel import iso_dates

from . import FAINT, SCALE, between, colours, figure, is_page, plain, write_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pricer.slices import Facet, Slice

# So many lines have a legend; of more numbers, a colour bar says which is which.
MOST_NAMED = 10
# Each point is shown of lines that have names and no more points than these.
FEW_POINTS = 41
# A band is drawn where it is as wide as a thin line: so much of the height of the picture.
VISIBLE = 0.004
# What is on a logarithmic axis where the largest is more than so many times the smallest.
ORDERS, WIDE = ("default_probability", "error", "standard_error"), 100.0
WIDTH, HEIGHT, SMALL_WIDTH, SMALL_HEIGHT = 7.2, 4.6, 3.4, 2.7
MOST_ABREAST = 4
LETTERS_AN_INCH = 13
# What a missing value is called.
MISSING = "missing"
UNITS = {
    "expiry": "years",
    "horizon": "years",
    "asset_vol": "per √year",
    "drift": "per year",
    "vol": "per √year",
    "rate": "per year",
    "dividend_yield": "per year",
    "gamma": "per unit of spot",
    "vega": "per 1.00 of vol",
    "theta": "per year",
    "rho": "per 1.00 of rate",
    "dividend_rho": "per 1.00 of yield",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """What all facets share: the colour of each value of the hue, and whether it has a name."""

    colour_of: dict[Any, str]
    named: bool
    band: bool
    scale: str


def draw_slice(found: Slice, path: Path) -> None:
    """Draw what `slice_of` has found, a frame for each facet."""
    look = _look(found)
    if is_page(path):
        _write_page(found, look, path)
        return
    rows, columns = _frames(len(found.facets))
    size = (WIDTH, HEIGHT)
    if len(found.facets) > 1:
        size = (SMALL_WIDTH * columns + 0.6, SMALL_HEIGHT * rows + 1.0)
    with figure(path, *size) as drawn:
        said = fill(_said(found), round(LETTERS_AN_INCH * size[0]))
        drawn.suptitle(f"{_heading(found)}\n{said}", x=0.01, ha="left")
        frames = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        handles: dict[Any, Any] = {}
        for facet, axes in zip(found.facets, frames, strict=False):
            # A facet may lack some of the hues.
            handles |= _draw_facet(axes, found, facet, look)
        frames[0].set_yscale(look.scale)
        if found.dated:
            _date(frames[0])
        for empty in range(len(found.facets), len(frames)):
            frames[empty].set_visible(False)
            # The frame above has the labels then.
            frames[empty - columns].tick_params(labelbottom=True)
        drawn.supxlabel(_label(found.x), fontsize="medium")
        drawn.supylabel(_label(found.y), fontsize="medium")
        if found.hues and not look.named:
            _draw_scale(drawn, found, list(frames))
        elif found.hues:
            drawn.legend(
                [handles[hue] for hue in found.hues],
                [_shown(hue) for hue in found.hues],
                title=_label(found.hue),
                loc="outside right center",
            )


def _draw_facet(axes: Any, found: Slice, facet: Facet, look: _Look) -> dict[Any, Any]:
    """Draw the lines or points of a facet; return what is drawn of each value of the hue."""
    handles: dict[Any, Any] = {}
    if facet.value is not None:
        axes.set_title(f"{_words(found.facet)} {_shown(facet.value)}")
    for hue, here in facet.lines():
        x, y = facet.x[here], facet.y[here]
        colour = look.colour_of[hue]
        if not found.joined:
            handles[hue] = axes.scatter(x, y, s=9, color=colour, linewidths=0)
            continue
        mark = "." if look.named and len(x) <= FEW_POINTS else ""
        wide = 1.4 if look.named else 0.9
        style = {"color": colour, "markersize": 4, "linewidth": wide}
        (handles[hue],) = axes.plot(x, y, mark + "-", **style)
    if look.band and facet.error is not None:
        _draw_errors(axes, found, facet, look)
    return handles


def _date(axes: Any) -> None:
    """Write days since 1970-01-01 as dates; frames share their axes."""
    from matplotlib import dates

    drawing: Any = dates
    locator = drawing.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(drawing.ConciseDateFormatter(locator))


def _draw_errors(axes: Any, found: Slice, facet: Facet, look: _Look) -> None:
    assert facet.error is not None
    for hue, here in facet.lines():
        x, y, error, colour = facet.x[here], facet.y[here], facet.error[here], look.colour_of[hue]
        if found.joined:
            axes.fill_between(x, y - error, y + error, color=colour, alpha=0.25, linewidth=0)
        else:
            axes.errorbar(x, y, error, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6)


def _draw_scale(drawn: Any, found: Slice, frames: list[Any]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    scale = LinearSegmentedColormap.from_list("pricer", SCALE)
    shown = ScalarMappable(Normalize(float(found.hues[0]), float(found.hues[-1])), scale)
    bar = drawn.colorbar(shown, ax=frames, label=_label(found.hue), aspect=30)
    bar.outline.set_visible(False)


def _write_page(found: Slice, look: _Look, path: Path) -> None:
    """Draw by plotly: a pointer on a point shows every digit of it, and its error."""
    rows, columns = _frames(len(found.facets))
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "grid": {"rows": rows, "columns": columns, "pattern": "independent", "ygap": 0.2},
        "hovermode": "closest",
        "annotations": [],
        "legend": {"title": {"text": plain(_label(found.hue))}},
    }
    there: set[Any] = set()
    for number, facet in enumerate(found.facets, start=1):
        place = "" if number == 1 else str(number)
        below = number + columns > len(found.facets)
        beside = number % columns == 1 or columns == 1
        for name, of, titled in (("xaxis", found.x, below), ("yaxis", found.y, beside)):
            layout[f"{name}{place}"] = {
                "title": {"text": plain(_label(of)) if titled else ""},
                "gridcolor": FAINT,
                "zerolinecolor": FAINT,
                "matches": None if number == 1 else name[0],
                "type": look.scale if name == "yaxis" else "date" if found.dated else "-",
            }
        if facet.value is not None:
            title = plain(f"{_words(found.facet)} {_shown(facet.value)}")
            over = {"xref": f"x{place} domain", "yref": f"y{place} domain", "x": 0.5, "y": 1}
            layout["annotations"].append(
                {"text": title, "showarrow": False, "yanchor": "bottom"} | over
            )
        for hue, here in facet.lines():
            trace = _trace(found, facet, look, hue, here)
            new = look.named and hue is not None and hue not in there
            traces.append(trace | {"xaxis": f"x{place}", "yaxis": f"y{place}", "showlegend": new})
            there.add(hue)
    if found.hues and not look.named:
        traces.append(_page_scale(found))
    title = f"{plain(_heading(found))}<br><sub>{plain(_said(found))}</sub>"
    write_page(path, title, traces, layout)


def _trace(found: Slice, facet: Facet, look: _Look, hue: Any, here: slice) -> dict[str, Any]:
    x, y = _along(found, facet.x[here]), facet.y[here].tolist()
    errors = [None] * len(x) if facet.error is None else facet.error[here].tolist()
    many = found.joined and not (look.named and len(x) <= FEW_POINTS)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if many else "lines+markers" if found.joined else "markers",
        "name": "" if hue is None else plain(_shown(hue)),
        "legendgroup": str(hue),
        "x": x,
        "y": [None if value != value else value for value in y],
        "text": [_point(found, facet, hue, *values) for values in zip(x, y, errors, strict=True)],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": look.colour_of[hue], "width": 1.8},
        "marker": {"color": look.colour_of[hue], "size": 5},
    }
    if look.band and facet.error is not None:
        trace["error_y"] = {"type": "data", "array": errors, "width": 0, "thickness": 1}
    return trace


def _along(found: Slice, x: Any) -> list[Any]:
    """Return the values along x: numbers, or dates as texts."""
    values: list[Any] = (iso_dates(x) if found.dated else x).tolist()
    return values


def _point(
    found: Slice, facet: Facet, hue: Any, x: str | float, y: float, error: float | None
) -> str:
    """Return what is known of a point, with all digits, as a query prints them."""
    lines = [f"{_words(found.x)} {x}", f"{_words(found.y)} {y!r}"]
    if error is not None:
        lines[1] += f" ± {error!r}"
    for name, value in ((found.hue, hue), (found.facet, facet.value)):
        if value is not None:
            lines.append(f"{_words(name)} {value}")
    return "<br>".join(map(plain, lines))


def _page_scale(found: Slice) -> dict[str, Any]:
    """Return a trace that shows nothing but what colour means what number."""
    scale = [[place / (len(SCALE) - 1), colour] for place, colour in enumerate(SCALE)]
    ends = [found.hues[0], found.hues[-1]]
    bar = {"title": {"text": plain(_label(found.hue))}, "outlinewidth": 0}
    marker = {"color": ends, "colorscale": scale, "showscale": True, "colorbar": bar}
    return {
        "type": "scatter", "mode": "markers", "x": [None, None], "y": [None, None],
        "marker": marker, "showlegend": False, "hoverinfo": "skip",
    }  # fmt: skip


def _look(found: Slice) -> _Look:
    named = len(found.hues) <= MOST_NAMED or not found.numeric
    shades: dict[Any, str]
    if not found.hues:
        shades = {None: between(0.35)}
    elif named:
        drawn = colours(len(found.hues), words=not found.numeric)
        shades = dict(zip(found.hues, drawn, strict=True))
    else:
        low, high = float(found.hues[0]), float(found.hues[-1])
        shades = {hue: between((float(hue) - low) / (high - low)) for hue in found.hues}
    values = np.concatenate([facet.y for facet in found.facets])
    values = values[np.isfinite(values)]
    height = float(np.ptp(values)) if len(values) else 0.0
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    return _Look(
        shades,
        named,
        band=(found.largest_error or 0.0) >= VISIBLE * height > 0.0,
        scale="log" if found.y.endswith(ORDERS) and 0.0 < low < high / WIDE else "linear",
    )


def _frames(count: int) -> tuple[int, int]:
    """Return how many frames are below and beside each other."""
    columns = min(MOST_ABREAST, ceil(sqrt(count)))
    return ceil(count / columns), columns


def _heading(found: Slice) -> str:
    by = f" by {_words(found.hue)}" if found.hue else ""
    name = f"{found.name}: " if found.name else ""
    return f"{name}{_words(found.y)} along {_words(found.x)}{by}"


def _said(found: Slice) -> str:
    """Say at which other inputs, how large errors are, and what is not ok."""
    said = list(_at(found))
    largest = found.largest_error
    if largest is not None:
        what = "errors" if found.band == "error" else found.band
        said.append(f"{what} up to {largest:.1e}")
    if found.not_ok:
        said.append(f"{found.not_ok:,} not ok")
    return ", ".join(said)


def _at(found: Slice) -> Iterator[str]:
    for name, value in found.at.items():
        middle = " (the middle)" if name in found.middle else ""
        yield f"{_words(name)} {_shown(value)}{middle}"


def _label(name: str) -> str:
    unit = UNITS.get(name)
    return f"{_words(name)} ({unit})" if unit else _words(name)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else value or MISSING
