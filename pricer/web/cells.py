"""What HTTP answers with, a page at a time: cells in JSON, CSV or Arrow, and lists of runs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from pricer.errors import MissingDependencyError, SpecError
from pricer.run import UNPRICED
from pricer.tables import arrow, columns_of, require_pyarrow, write_text

from .errors import NotAcceptableError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pricer.run import Run
    from pricer.tables import Table

JSON, CSV, ARROW = "json", "csv", "arrow"
MEDIA = {
    JSON: "application/json",
    CSV: "text/csv; charset=utf-8",
    ARROW: "application/vnd.apache.arrow.stream",
}
# What is said to be data is not looked through for a page.
AS_SAID = {"X-Content-Type-Options": "nosniff"}
DEFAULT_ROWS = 1_000
DEFAULT_RUNS, MOST_RUNS = 100, 1_000
MOST_INTEGER = 2**63 - 1
# Text is made a value at a time; Arrow is copied as it is.
MOST_ROWS = {JSON: 100_000, CSV: 100_000, ARROW: 1_000_000}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cells are asked for, and how.

    `selection` is as `Run.query` takes it, `measures` are all that there are if None.
    """

    selection: Mapping[str, str]
    measures: tuple[str, ...] | None
    nearest: bool
    partial: bool
    limit: int
    offset: int
    form: str

    def __post_init__(self) -> None:
        if self.limit > MOST_ROWS[self.form]:
            other = ", or format=arrow" if self.form != ARROW else ""
            raise TooLargeError(
                f"limit: must be at most {MOST_ROWS[self.form]:,} in {self.form},"
                f" got {self.limit:,}; ask for a page after the other by offset{other}"
            )
        if self.form == ARROW:
            try:
                require_pyarrow()
            except MissingDependencyError as error:
                raise NotAcceptableError(f"format: arrow is not to be had: {error}") from None

    def parameters(self, offset: int) -> dict[str, str | int]:
        """Return the query of an URL that asks for the same from another row on."""
        asked: dict[str, str | int] = dict(self.selection)
        if self.measures:
            asked["measures"] = ",".join(self.measures)
        if self.nearest:
            asked["nearest"] = "true"
        if self.partial:
            asked["partial"] = "true"
        return asked | {"format": self.form, "limit": self.limit, "offset": offset}


def asked_of(query: Iterable[tuple[str, str]], accept: str) -> Asked:
    """Return what the query of an URL asks for; what is no parameter selects.

    Read here rather than by the framework, whose way takes longer than the reading of cells.
    """
    given = _once(query)
    form = given.pop("format", "") or form_of(accept)
    if form not in MEDIA:
        raise SpecError(f"format: must be one of {', '.join(MEDIA)}; got {form[:60]!r}")
    measures = given.pop("measures", None)
    return Asked(
        measures=None if measures is None else tuple(m.strip() for m in measures.split(",")),
        nearest=_whether("nearest", given.pop("nearest", "false")),
        partial=_whether("partial", given.pop("partial", "false")),
        limit=_whole("limit", given.pop("limit", DEFAULT_ROWS), least=1),
        offset=_whole("offset", given.pop("offset", 0), least=0),
        form=form,
        selection=given,
    )


def part_of(query: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Return which part of the runs the query of an URL asks for: how many, and from where on."""
    given = _once(query)
    limit = _whole("limit", given.pop("limit", DEFAULT_RUNS), least=1)
    offset = _whole("offset", given.pop("offset", 0), least=0)
    for name in given:
        raise SpecError(f"{name[:60]}: is not a parameter here; there are limit and offset")
    if limit > MOST_RUNS:
        raise TooLargeError(
            f"limit: must be at most {MOST_RUNS:,}, got {limit:,}; ask for a page after the other"
            " by offset"
        )
    return limit, offset


def _once(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name in given:
            raise SpecError(f"{name} is given twice")
        given[name] = value
    return given


def _whether(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise SpecError(f"{name}: must be true or false, got {text[:60]!r}")
    return text == "true"


def _whole(name: str, text: str | int, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not least <= number <= MOST_INTEGER:
        raise SpecError(
            f"{name}: must be a whole number of at least {least}, got {str(text)[:60]!r}"
        )
    return number


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a run, `total` in all, and where the rest of them is (None where it is the end).

    `missing` of the rows are not priced yet.
    """

    run_id: str
    table: Table
    rows: int
    total: int
    missing: int
    next: str | None

    def render(self, form: str) -> bytes:
        """Return the page in one of the formats."""
        if form == ARROW:
            return _arrow_stream(arrow(self.table))
        if form == CSV:
            text = io.StringIO()
            write_text(text, [self.table], CSV)
            return text.getvalue().encode()
        document = {
            "run": self.run_id,
            "rows": self.rows,
            "total": self.total,
            "missing": self.missing,
            "next": self.next,
            "columns": columns_of(self.table),
        }
        return compact(document)


def page_of(run: Run, asked: Asked) -> Page:
    """Read the rows that are asked for; only the blocks that hold them are read."""
    table = run.query(
        asked.selection,
        measures=asked.measures,
        nearest=asked.nearest,
        limit=asked.limit,
        offset=asked.offset,
        partial=asked.partial,
    )
    rows = len(table["status"])
    total = asked.offset + rows
    # A page that is not full is the last one, unless it begins beyond the end.
    if rows == asked.limit or (asked.offset and not rows):
        total = run.count(asked.selection, nearest=asked.nearest)
    after, following = asked.offset + rows, None
    if rows and after < total:
        following = f"/api/runs/{run.id}/cells?{urlencode(asked.parameters(after))}"
    missing = int(np.count_nonzero(table["status"] == UNPRICED))
    return Page(run.id, table, rows, total, missing, following)


def form_of(accept: str) -> str:
    """Return the format that an Accept header likes best of those that there are."""
    liked: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            liked[media] = float(quality)
        except ValueError:
            liked[media] = 0.0
    names = {form: media.partition(";")[0] for form, media in MEDIA.items()}
    best = max(names, key=lambda form: liked.get(names[form], 0.0))
    return best if liked.get(names[best], 0.0) > 0.0 else JSON


def compact(document: Any) -> bytes:
    """Return a document as JSON without a space; it must have no NaN and no infinity."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # What a client sent may hold half a character.
    return text.encode(errors="replace")


def _arrow_stream(table: Any) -> bytes:
    pa = require_pyarrow()
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()
