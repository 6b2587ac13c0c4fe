"""Pictures in one style: what is drawn here is measured or priced elsewhere.

A file of .png, .svg or .pdf is drawn by matplotlib, one of .html by plotly, which shows the exact
values under the pointer and needs nothing from elsewhere. Nothing else here knows either.
"""

from __future__ import annotations

import html
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pricer.errors import MissingDependencyError, SpecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DRAWN, HTML = ("png", "svg", "pdf"), "html"
# What Okabe and Ito recommend for the colour-blind, then the dark three quarters of viridis: its
# yellow is hard to see on white.
WORDS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SCALE = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
)  # fmt: skip
INK, FAINT = "#333333", "#e4e4e4"
STYLE = {
    "figure.dpi": 150,
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "figure.titlesize": 9.5,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # The same picture is the same bytes.
    "svg.hashsalt": "pricer",
}
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def check_drawable(path: Path, forms: Sequence[str] = DRAWN) -> None:
    """Raise what drawing to `path` would raise for certain, before the work is done."""
    form = _form(path)
    if form not in forms:
        endings = ", ".join(f".{form}" for form in forms[:-1])
        raise SpecError(f"{path}: must end in {endings} or .{forms[-1]}")
    if form == HTML:
        _require_plotly()
    else:
        _require_matplotlib()
    if path.is_dir():
        raise StoreError(f"{path}: cannot be written: is a folder")
    if not path.resolve().parent.is_dir():
        raise StoreError(f"{path}: cannot be written: no folder {path.parent}")


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yield an empty matplotlib figure of so many inches, and write to `path` what it becomes."""
    matplotlib, rc_context = _require_matplotlib()
    with rc_context(STYLE):
        drawn = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        yield drawn
        for text in drawn.findobj(matplotlib.text.Text):
            # Two dollars in a name are no formula; what is empty yet are numbers along an axis.
            if text.get_text():
                text.set_parse_math(False)
        picture, form = BytesIO(), _form(path)
        drawn.savefig(picture, format=form, metadata=UNDATED[form])
    _write(path, picture.getvalue())


def write_page(
    path: Path, title: str, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]
) -> None:
    """Write a page of its own that shows what plotly makes of `traces`."""
    usual = {
        "title": {"text": title, "x": 0.01, "font": {"size": 15}},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hoverlabel": {"font": {"family": "ui-monospace, monospace"}},
        "margin": {"t": 90, "r": 20},
    }
    page = _require_plotly().to_html(
        {"data": list(traces), "layout": usual | dict(layout)},
        config={"displaylogo": False, "responsive": True},
        default_height="94vh",
        div_id="picture",
        validate=False,
    )
    _write(path, page.encode())


def plain(text: str) -> str:
    """Return a text that plotly shows as it stands, tags and entities too."""
    return html.escape(text, quote=False)


def colours(count: int, *, words: bool = False) -> list[str]:
    """Return so many colours that can be told apart: for words, or from low to high."""
    if words and count <= len(WORDS):
        return list(WORDS[:count])
    return [between(place / (count - 1) if count > 1 else 0.0) for place in range(count)]


def between(share: float) -> str:
    """Return the colour at a share of the scale, from 0 to 1."""
    place = share * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in SCALE[low : low + 2]]
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def is_page(path: Path) -> bool:
    """Tell whether `path` is to be a page rather than a picture."""
    return _form(path) == HTML


def _form(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _write(path: Path, picture: bytes) -> None:
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None


def _require_matplotlib() -> tuple[Any, Any]:
    """Return what draws without a screen and what sets its style, or say how to install them."""
    try:
        import matplotlib.figure
        import matplotlib.text
    except ImportError:
        raise MissingDependencyError("a picture needs matplotlib: pip install matplotlib") from None
    return matplotlib, matplotlib.rc_context


def _require_plotly() -> Any:
    """Return what makes pages, or say how to install it."""
    try:
        import plotly.io
    except ImportError:
        raise MissingDependencyError("an .html picture needs plotly: pip install plotly") from None
    return plotly.io
