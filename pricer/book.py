"""What a book says: a list of contracts, one a row, each with its own market."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from difflib import SequenceMatcher
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from .claims import beyond
from .columns import Column, parse_date, read_csv, read_table, read_texts, words_of
from .contracts import INPUTS, defaults_of, inputs_of, shown_of, suggest
from .dated import Correlation, Curve, Dates, Dividends, Fixings, Vector
from .errors import SpecError
from .grid import check_possible
from .gridvalues import exact
from .inputs import Inputs
from .settings import EVERY_MEASURE, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .cells import Cells
    from .dated import Table

    Texts = NDArray[np.object_]

KNOWN_COLUMNS = ("type", *INPUTS, "expiry_date")
RESULT_COLUMNS = (*EVERY_MEASURE, "error", "status", "method", "reason", "row")
# A book of quotes has the first, or both others; its results are fewer.
QUOTE_COLUMNS = ("price", "bid", "ask")
IMPLIED_COLUMNS = ("vol", "status", "reason", "row")

_TABLES: dict[str, Callable[..., Table]] = {
    kind.__name__.lower(): kind for kind in (Curve, Dates, Dividends, Fixings, Vector, Correlation)
}
# How like an input a column must be to be a misspelling: one that must be there, and any other.
_NEAR_MISS, _NEARER_MISS = 0.7, 0.81
# No vanilla has one of these, nor would a book call anything else so.
_TELLING = (
    "barrier", "lower_barrier", "upper_barrier", "barrier_type", "touch_type", "monitoring_dates",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """A list of contracts in the order of its file.

    `cells` holds the inputs, NaN where one is missing: such a row is invalid and the others are
    priced. `texts` holds the columns that only pass through, as text of shape (n,). `columns`
    names what outputs show of both kinds, in the order of the file, then the inputs that the file
    left to defaults; the inputs of `cells` where none are named.
    """

    cells: Cells
    texts: Mapping[str, Texts] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    name: str = ""
    valuation_date: date | None = None
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if not len(self.cells):
            raise SpecError("must have at least one row below its header")
        shown = self.columns or (n for n in ("type", *INPUTS) if n in self.cells.columns)
        object.__setattr__(self, "columns", tuple(shown))
        kinds = [kind for kind, _ in self.cells.kinds()]
        models, exercises = (
            words_of(name, np.unique(getattr(self.cells, name))).tolist()
            for name in ("model", "exercise")
        )
        check_possible(self.settings.method, kinds, models, exercises)
        simulated = beyond(self.cells)
        settings = self.settings.usual(
            simulated=bool(simulated.any()),
            exercised=bool((simulated & (self.cells.exercise > 0)).any()),
        )
        object.__setattr__(self, "settings", settings)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.cells)

    @classmethod
    def parse(
        cls,
        text: str,
        source: str = "book.csv",
        *,
        columns: Mapping[str, str] | None = None,
        valuation_date: date | str | None = None,
        quotes: bool = False,
        **settings: Any,
    ) -> Book:
        """Read a book from CSV text; `source` names it in errors.

        Parameters
        ----------
        columns
            Which column to read an input from where it has another name: ``{"vol": "iv"}``.
        valuation_date
            The day from which `expiry_date` counts, in days of 1/365 of a year.
        quotes
            Whether vols are asked for: none is read then, and `QUOTE_COLUMNS` pass through.
        settings
            What `Settings` has: `method`, `tolerance`, `measures`, ...

        Raises
        ------
        SpecError
            Where the text cannot be read: names the file, row, column, rule and value got.
        """
        try:
            parts = read_csv(text)
            return cls._of(parts, source, columns, valuation_date, settings, quotes=quotes)
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    @classmethod
    def from_columns(
        cls,
        table: Mapping[str, Sequence[Any] | NDArray[Any]],
        source: str = "book",
        *,
        columns: Mapping[str, str] | None = None,
        valuation_date: date | str | None = None,
        quotes: bool = False,
        **settings: Any,
    ) -> Book:
        """Read a book from columns of equal length, say of a Parquet file; as `parse` otherwise."""
        try:
            parts = iter([read_table(table)])
            return cls._of(parts, source, columns, valuation_date, settings, quotes=quotes)
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    @classmethod
    def _of(
        cls,
        parts: Iterator[list[Column]],
        source: str,
        mapped: Mapping[str, str] | None,
        valuation_date: date | str | None,
        settings: Mapping[str, Any],
        *,
        quotes: bool,
    ) -> Book:
        valued = _valuation_date(valuation_date)
        first = next(parts)
        header = [column.name for column in first]
        meanings = _meanings(header, mapped or {}, valued, quotes=quotes)
        without = ("vol",) if quotes else ()
        typed = "type" in meanings
        if not typed:
            _check_untyped(meanings, header, mapped or {})
            _check_given(meanings, header, valued, ("vanilla",), without)
        elif valued and "expiry_date" not in meanings:
            _check_given(meanings, header, valued, (), without)
        inputs, texts = _read(chain([first], parts), meanings, valued)
        if typed:
            _check_given(meanings, header, valued, inputs.kinds, without)
        names = [name for name in meanings if name]
        if "expiry" not in names:
            names.insert(names.index("expiry_date"), "expiry")
        names += [name for name in shown_of(inputs.kinds, names) if name not in names]
        file = source.rpartition("/")[2]
        return cls(inputs.cells(), texts, tuple(names), file, valued, Settings(**settings))

    def identity(self) -> dict[str, Any]:
        """Return what of this book decides its values, as JSON can hold it."""
        digest = hashlib.sha256()
        for column in self.cells.columns.values():
            digest.update(column.tobytes())
        for name in sorted(self.texts):
            digest.update(json.dumps([name, self.texts[name].tolist()]).encode())
        return {
            "book": digest.hexdigest(),
            "columns": list(self.columns),
            "inputs": list(self.cells.columns),
            "tables": [_exact(table) for table in self.cells.tables],
            "valuation_date": self.valuation_date and self.valuation_date.isoformat(),
        } | self.settings.identity()


def table_of(exact_table: Sequence[Any]) -> Table:
    """Rebuild a table from what `Book.identity` says of it."""
    name, *columns = exact_table
    return _TABLES[name](*(tuple(map(float.fromhex, column)) for column in columns))


def _exact(table: Table) -> list[Any]:
    name = type(table).__name__.lower()
    columns = (getattr(table, f.name) for f in fields(table) if f.compare)
    return [name, *([exact(number) for number in column] for column in columns)]


def pack_texts(texts: Texts) -> bytes:
    """Pack a column of texts: a JSON list, deflated."""
    return zlib.compress(json.dumps(texts.tolist()).encode(), 1)


def unpack_texts(data: bytes) -> Texts:
    """Read back what `pack_texts` packed."""
    return np.array(json.loads(zlib.decompress(data)), dtype=object)


def _read(
    parts: Iterable[list[Column]], meanings: Sequence[str], valued: date | None
) -> tuple[Inputs, dict[str, Texts]]:
    """Read the columns, some rows at a time; return the inputs and what passes through."""
    known = ("type", *INPUTS) if "type" in meanings else inputs_of("vanilla")
    given = [name for name in meanings if name in known]
    inputs = Inputs(given + ["expiry"] * bool(valued), valued)
    texts: dict[str, list[str]] = {m: [] for m in meanings if m and m not in known}
    shared: dict[str, dict[str, str]] = {name: {} for name in texts}
    for part in parts:
        columns = dict(zip(meanings, part, strict=True))
        for name in texts:
            texts[name] += read_texts(columns[name], shared[name])
        inputs.add(columns)
    if not len(inputs):
        raise SpecError("must have at least one row below its header, got none")
    return inputs, {name: np.array(words, dtype=object) for name, words in texts.items()}


def _valuation_date(value: date | str | None) -> date | None:
    if isinstance(value, str):
        try:
            return parse_date(value)
        except SpecError as error:
            raise SpecError(f"valuation date: {error}") from None
    return value.date() if isinstance(value, datetime) else value


def _meanings(
    header: list[str], mapped: Mapping[str, str], valued: date | None, *, quotes: bool
) -> list[str]:
    """Return what each column of `header` is: an input, a text, or nothing where superseded.

    What passes through and is called as a result is renamed: price becomes book_price.
    """
    for i, name in enumerate(header):
        if not name:
            raise SpecError(f"header: column {i + 1} must have a name")
        if name in header[:i]:
            raise SpecError(f"header: names must differ, got {name!r} twice")
    results = IMPLIED_COLUMNS if quotes else RESULT_COLUMNS
    known = (*KNOWN_COLUMNS, *QUOTE_COLUMNS) if quotes else KNOWN_COLUMNS
    _check_mapped(mapped, header, [name for name in known if name not in results])
    targets = {name: target for target, name in mapped.items()}
    meanings = [targets.get(name, "" if name in mapped else name) for name in header]
    if valued and "expiry" in meanings:
        meanings[meanings.index("expiry")] = ""
    if quotes and "price" not in meanings and not {"bid", "ask"} <= set(meanings):
        raise SpecError(
            f"there is no column 'price', nor both 'bid' and 'ask'{suggest('price', header)};"
            f" the file has {', '.join(header)}"
        )
    names = [f"book_{name}" if name in results else name for name in meanings]
    for name in names:
        if name and names.count(name) > 1:
            raise SpecError(
                f"header: {name!r} must be free for the column {name.removeprefix('book_')!r}"
            )
    return names


def _check_mapped(mapped: Mapping[str, str], header: Sequence[str], known: Sequence[str]) -> None:
    for target, name in mapped.items():
        if target not in known:
            raise SpecError(
                f"column {target}={name}: must set one of {', '.join(known)}"
                f"{suggest(target, known)}"
            )
        if name not in header:
            raise SpecError(
                f"column {target}={name}: there is no column {name!r}{suggest(name, header)};"
                f" the file has {', '.join(header)}"
            )
    names = list(mapped.values())
    for target, name in mapped.items():
        if names.count(name) > 1:
            raise SpecError(f"column {target}={name}: each column can be one input only")


def _check_untyped(
    meanings: Sequence[str], header: Sequence[str], mapped: Mapping[str, str]
) -> None:
    """Raise `SpecError` for what only another contract than a vanilla can mean."""
    vanilla = (*inputs_of("vanilla"), "expiry_date", *QUOTE_COLUMNS)
    for name in meanings:
        if name in _TELLING or (name in mapped and name not in vanilla):
            raise SpecError(
                f"column {name!r} is no input of a vanilla; a column 'type' says what each row is"
                f"{suggest('type', header)}"
            )


def _check_given(
    meanings: Sequence[str],
    header: Sequence[str],
    valued: date | None,
    kinds: Sequence[str],
    without: Sequence[str],
) -> None:
    """Raise `SpecError` for a near miss of an input that is not given, or one that must be.

    Nothing is said of the inputs `without` which this book does.
    """
    needed = {n for kind in kinds for n in inputs_of(kind) if n not in defaults_of(kind)}
    needed.add("expiry_date")
    if "model" in meanings:
        needed.discard("vol")
    has = {"type", *needed, *(name for kind in kinds for name in inputs_of(kind))}
    wanted = [name for name in ("type", *INPUTS) if name in has and name not in meanings]
    wanted = [name for name in wanted if name not in without]
    if valued or "expiry_date" in meanings:
        wanted = [name for name in wanted if name != "expiry"]
    if (valued or "expiry" not in meanings) and "expiry_date" not in meanings:
        wanted.append("expiry_date")
    firm = needed | {"exercise", "dividend_yield"}
    others = [name for name in meanings if name and name not in KNOWN_COLUMNS]
    for name in others:
        likeness = {known: _likeness(name, known) for known in wanted}
        near = [n for n in wanted if likeness[n] >= (_NEAR_MISS if n in firm else _NEARER_MISS)]
        if near:
            nearest = max(near, key=likeness.__getitem__)
            raise SpecError(f"column {name!r} is not known; did you mean {nearest!r}?")
    for name in wanted:
        if name in needed:
            use = "; a valuation date needs it" if name == "expiry_date" else ""
            raise SpecError(
                f"there is no column {name!r}{use}{suggest(name, others)};"
                f" the file has {', '.join(header)}"
            )
    if "expiry_date" in meanings and "expiry" not in meanings and not valued:
        raise SpecError("column 'expiry_date' needs the valuation date from which it counts")


def _likeness(name: str, known: str) -> float:
    plain, target = (re.sub(r"[\W_]", "", word.lower()) for word in (name, known))
    return SequenceMatcher(None, plain, target).ratio()
