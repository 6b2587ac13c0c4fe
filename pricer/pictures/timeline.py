"""A run over time: what each chunk waited for and took, and how many were priced at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pricer.screen import counted, duration

from . import FAINT, INK, figure, is_page, plain, write_page

if TYPE_CHECKING:
    from pathlib import Path

    from pricer.timeline import ChunkTimes, Timeline

COLOURS = {
    "queued": FAINT,
    "init": "#e69f00",
    "kernel": "#0072b2",
    "kernel, straggler": "#d55e00",
    "write": "#9fcbe8",
}
COLD = "cold start"
# As many chunks as a drawing has as shapes; of more an .svg or .pdf holds an image.
MOST_SHAPES = 2_000
# A larger unit of time is taken from so many of the smaller on.
MANY = 300.0


@dataclass(frozen=True, slots=True)
class _Bar:
    """From when to when a chunk, which has a row, is in one of its states."""

    row: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is drawn of a timeline, in its unit of time, from which pauses are cut out."""

    title: str
    across: str
    rows: tuple[ChunkTimes, ...]
    bars: dict[str, list[_Bar]]
    cold: list[tuple[float, float]]
    times: list[float]
    at_once: list[int]
    again: list[tuple[float, str]]


def draw_timeline(found: Timeline, path: Path) -> None:
    """Draw the chunks of a run as bars, in the order of their starts, and how many at once.

    The time that nobody priced between two submits is cut out.
    """
    scene = _scene(found)
    if is_page(path):
        _write_page(scene, path)
        return
    with figure(path, 8, 5.4) as drawn:
        drawn.suptitle(scene.title, x=0.01, ha="left")
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(1, 3))
        # Without a line: the moments between two chunks would be all that one sees.
        colour = COLOURS["kernel"]
        image = len(scene.rows) > MOST_SHAPES
        above.fill_between(
            scene.times, scene.at_once, step="post", color=colour, linewidth=0, rasterized=image
        )
        above.set(ylabel="workers at work", ylim=(0, 1.08 * max(scene.at_once)))
        for what, bars in scene.bars.items():
            _draw_bars(below, what, bars, image=image)
        if scene.cold:
            below.scatter(
                *zip(*scene.cold, strict=True), 12, marker=">", color=INK, label=COLD, zorder=3
            )
        for at, what in scene.again:
            for axes in (above, below):
                axes.axvline(at, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            above.annotate(
                what, (at, 1), (4, -3), xycoords=("data", "axes fraction"),
                textcoords="offset points", va="top", fontsize="small",
            )  # fmt: skip
        below.set(xlabel=scene.across, ylabel="chunks, by start", xlim=(0, None))
        below.set(ylim=(len(scene.rows), 0))
        for axes in (above, below):
            axes.yaxis.get_major_locator().set_params(integer=True)
        below.grid(visible=False, axis="y")
        drawn.legend(loc="outside lower center", ncols=3)


def _draw_bars(axes: Any, what: str, bars: list[_Bar], *, image: bool) -> None:
    from matplotlib.collections import PolyCollection

    corners = [
        ((b.start, b.row), (b.end, b.row), (b.end, b.row + 1), (b.start, b.row + 1)) for b in bars
    ]
    drawn = PolyCollection(corners, facecolors=COLOURS[what], label=what, linewidths=0)
    drawn.set_rasterized(image)
    axes.add_collection(drawn)


def _write_page(scene: _Scene, path: Path) -> None:
    """Draw by plotly: a pointer on a bar shows all that is known of its chunk."""
    said = [_said(chunk) for chunk in scene.rows]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": what,
            "base": [bar.start for bar in bars],
            "x": [bar.end - bar.start for bar in bars],
            "y": [bar.row + 0.5 for bar in bars],
            "width": 1.0,
            "marker": {"color": COLOURS[what]},
            "text": [said[bar.row] for bar in bars],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for what, bars in scene.bars.items()
    ]
    traces.append(
        {
            "type": "scatter",
            "name": "workers at work",
            "x": scene.times,
            "y": scene.at_once,
            "yaxis": "y2",
            "line": {"shape": "hv", "width": 0},
            "fill": "tozeroy",
            "fillcolor": COLOURS["kernel"],
            "showlegend": False,
        }
    )
    if scene.cold:
        times, rows = zip(*scene.cold, strict=True)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": COLD,
                "x": times,
                "y": rows,
                "marker": {"symbol": "triangle-right", "color": INK, "size": 7},
                "hoverinfo": "skip",
            }
        )
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dash", "width": 1}}
    note = {"yref": "paper", "y": 1, "xanchor": "left", "yanchor": "top", "showarrow": False}
    layout = {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {"title": {"text": scene.across}, "rangemode": "tozero", "gridcolor": FAINT},
        "yaxis": {
            "title": {"text": "chunks, by start"},
            "range": [len(scene.rows), 0],
            "domain": [0, 0.72],
            "showgrid": False,
        },
        "yaxis2": {
            "title": {"text": "workers at work"},
            "rangemode": "tozero",
            "domain": [0.76, 1],
            "gridcolor": FAINT,
        },
        "legend": {"orientation": "h", "y": -0.14},
        "shapes": [line | {"x0": at, "x1": at} for at, _ in scene.again],
        "annotations": [
            note | {"x": at, "text": what.replace("\n", "<br>")} for at, what in scene.again
        ],
    }
    write_page(path, plain(scene.title), traces, layout)


def _said(chunk: ChunkTimes) -> str:
    words = [
        f"chunk {chunk.chunk}, {counted(chunk.cells, 'cell')}",
        f"worker {chunk.worker}, attempt {chunk.attempt}",
        f"queued {chunk.queued:.3f} s",
        f"started {chunk.started:.3f} s",
        f"kernel {chunk.kernel_s:.3f} s",
        f"write {chunk.write_s:.3f} s",
        f"freed {chunk.freed:.3f} s",
        f"done {chunk.done:.3f} s",
    ]
    if chunk.cold:
        words.append(f"cold start, init {chunk.init_s:.3f} s")
    if chunk.straggler:
        words.append("straggler")
    return "<br>".join(words)


def _scene(found: Timeline) -> _Scene:
    whole, pauses = found.without_pauses()
    unit, unit_s = next(
        (name, length)
        for name, length in (("seconds", 1.0), ("minutes", 60.0), ("hours", 3_600.0))
        if whole.seconds <= MANY * length or name == "hours"
    )
    bars: dict[str, list[_Bar]] = {what: [] for what in COLOURS}
    for row, chunk in enumerate(whole.chunks):
        kernel = "kernel, straggler" if chunk.straggler else "kernel"
        priced = chunk.started + chunk.kernel_s
        for what, start, end in (
            ("queued", chunk.queued, chunk.started - chunk.init_s),
            ("init", chunk.started - chunk.init_s, chunk.started),
            (kernel, chunk.started, priced),
            ("write", priced, chunk.done),
        ):
            if end > start:
                bars[what].append(_Bar(row, start / unit_s, end / unit_s))
    times, at_once = zip(*whole.concurrency(), strict=True)
    name = found.name or f"run {found.run[:12]}"
    return _Scene(
        title=f"{name}: {counted(len(found.chunks), 'chunk')} in {duration(whole.seconds)}",
        across=f"{unit} since the submit began",
        rows=found.chunks,
        bars={what: kept for what, kept in bars.items() if kept},
        cold=[(c.started / unit_s, row + 0.5) for row, c in enumerate(whole.chunks) if c.cold],
        times=[at / unit_s for at in times],
        at_once=list(at_once),
        again=[(at / unit_s, f"submitted again\n{duration(s)} later") for at, s in pauses],
    )
