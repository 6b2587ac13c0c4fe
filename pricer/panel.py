"""What a panel says: the equity, debt and rate of firms on their days, cut into windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import suggest
from .errors import SpecError
from .grid import parse_toml
from .gridvalues import check_count, keyed, number_of, show, values_of
from .merton import LEAST_WINDOW, MEASURES, WINDOW, check_days, check_horizons
from .settings import check_measures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Days = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Texts = NDArray[np.object_]

# Reads bytes of what is kept under a name: the name, the first byte, the byte after the last.
Read = Callable[[str, int, int], bytes]

TYPE = "merton"
# What a panel has of each firm and day, and which of it are numbers.
COLUMNS = ("firm", "date", "equity", "debt", "rate")
NUMBERS = COLUMNS[2:]
NUMBER_BYTES = 8
MOST_DAYS = 2**31 - 1

_TABLES = {
    "contract": ("type", "horizon", "window", "step"),
    "panel": ("file", "columns"),
    "method": ("measures",),
}


@dataclass(frozen=True, slots=True)
class Windows:
    """How a firm's days are cut: `window` days each, `step` days from a start to the next.

    `horizons` are the debt's maturities in years, strictly increasing.
    """

    horizons: tuple[float, ...]
    window: int
    step: int

    def __post_init__(self) -> None:
        place = "contract.horizon"
        if not self.horizons:
            raise SpecError(f"{place}: must have at least one value, got none")
        check_count(place, "horizon", len(self.horizons))
        keyed(place, check_horizons, self.horizons)
        for a, b in zip(self.horizons, self.horizons[1:], strict=False):
            if not a < b:
                raise SpecError(f"{place}: values must increase, got {a} then {b}")
        for name, least in (("window", LEAST_WINDOW), ("step", 1)):
            days = check_days(f"contract.{name}", getattr(self, name), least)
            if days > MOST_DAYS:
                raise SpecError(f"contract.{name}: must be at most {MOST_DAYS}, got {days}")

    def count(self, days: Indices) -> Indices:
        """Return how many windows firms of so many days have: one where no whole one fits."""
        return np.maximum((days - self.window) // self.step + 1, 1)


@dataclass(frozen=True, slots=True)
class PanelFile:
    """What the TOML text of a panel says. `columns` names those that the file calls otherwise."""

    file: str
    windows: Windows
    columns: Mapping[str, str] = field(default_factory=dict)
    measures: tuple[str, ...] = MEASURES
    name: str = ""

    @classmethod
    def parse(cls, text: str, source: str = "panel.toml") -> PanelFile:
        """Read TOML text; `source` names it in errors.

        Raises
        ------
        SpecError
            Where the text cannot be meant: names the file, the key, the rule and the value got.
        """
        try:
            return cls(**_arguments(parse_toml(text)))
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None


@dataclass(frozen=True, eq=False)
class Panel:
    """Firms, the days of each, and the windows of which a cell is estimated at every horizon.

    Attributes
    ----------
    firms
        Their names, of shape (F,).
    offsets
        The first row of each firm, and the number of rows; shape (F + 1,).
    dates
        The last day of each window, in days since 1970-01-01, firm after firm; shape (W,).
    digest
        Tells this content from any other.
    read
        Returns bytes of a column of `NUMBERS`, which is float64 of shape (rows,).
    """

    firms: Texts
    offsets: Indices
    dates: Days
    digest: str
    read: Read = field(repr=False)
    windows: Windows
    measures: tuple[str, ...] = MEASURES
    name: str = ""

    def identity(self) -> dict[str, Any]:
        """Return what of this panel decides its values, as JSON can hold it, floats exactly."""
        return {
            "contract": {"type": TYPE},
            "panel": self.digest,
            "horizons": [horizon.hex() for horizon in self.windows.horizons],
            "window": self.windows.window,
            "step": self.windows.step,
            "measures": sorted(self.measures),
        }

    @property
    def cells(self) -> int:
        """The number of cells: firms x windows x horizons."""
        return int(self.cell_offsets[-1])

    @cached_property
    def window_offsets(self) -> Indices:
        """The first window of each firm, and the number of windows; shape (F + 1,)."""
        counts = self.windows.count(np.diff(self.offsets))
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    @property
    def cell_offsets(self) -> Indices:
        """The first cell of each firm, and the number of cells; shape (F + 1,)."""
        return self.window_offsets * len(self.windows.horizons)

    @cached_property
    def horizons(self) -> Floats:
        """The horizons in years."""
        return np.array(self.windows.horizons)

    def firm_of(self, windows: Indices) -> Indices:
        """Return the number of the firm of each window."""
        return np.searchsorted(self.window_offsets, windows, "right") - 1

    def rows_of(self, windows: Indices) -> tuple[Indices, Indices]:
        """Return the first row of each window, and the row after its last."""
        firms = self.firm_of(windows)
        first = (windows - self.window_offsets[firms]) * self.windows.step + self.offsets[firms]
        return first, np.minimum(first + self.windows.window, self.offsets[firms + 1])

    def days(self, first: int, end: int) -> tuple[Floats, Floats, Floats]:
        """Return equity, debt and rate of the rows `first` to before `end`."""
        low, high = first * NUMBER_BYTES, end * NUMBER_BYTES
        equity, debt, rate = (
            np.frombuffer(self.read(name, low, high), "<f8").astype(np.float64, copy=False)
            for name in NUMBERS
        )
        return equity, debt, rate

    def called(self, cell: int) -> dict[str, str | float]:
        """Name a cell: its firm, the last day of its window, its horizon in years."""
        window, horizon = divmod(cell, len(self.windows.horizons))
        return {
            "firm": str(self.firms[int(self.firm_of(np.array([window]))[0])]),
            "date": str(iso_dates(self.dates[window : window + 1])[0]),
            "horizon": self.windows.horizons[horizon],
        }


def iso_dates(days: Days) -> NDArray[np.str_]:
    """Return days since 1970-01-01 as ISO dates."""
    return np.datetime_as_string(days.astype("datetime64[D]"), unit="D")


def says_panel(document: Mapping[str, Any]) -> bool:
    """Tell whether a parsed TOML document is meant to be that of a panel."""
    contract = document.get("contract")
    kind = contract.get("type") if isinstance(contract, dict) else None
    return "panel" in document or _is_type(kind)


def _is_type(kind: object) -> bool:
    return isinstance(kind, str) and kind.strip().lower() == TYPE


def _arguments(document: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a parsed TOML document into the arguments of `PanelFile`."""
    _check_keys(document)
    contract, panel, method = (document.get(table, {}) for table in _TABLES)
    for table, key, example in (
        ("contract", "type", f'type = "{TYPE}"'),
        ("contract", "horizon", "horizon = [1.0, 2.0]"),
        ("panel", "file", 'file = "firms.parquet"'),
    ):
        if key not in document.get(table, {}):
            raise SpecError(f"{table}.{key}: is missing; write {example} below [{table}]")
    if not _is_type(contract["type"]):
        rule = f"must be {TYPE!r} beside [panel], got {show(contract['type'])}"
        raise SpecError(f"contract.type: {rule}")
    place = "contract.horizon"
    horizons = values_of(place, "horizon", contract["horizon"])
    window = contract.get("window", WINDOW)
    arguments = {
        "file": _text("panel.file", panel["file"]),
        "windows": Windows(
            tuple(number_of(place, horizon) for horizon in horizons),
            window,
            contract.get("step", window),
        ),
        "columns": _columns(panel.get("columns", {})),
        "name": document.get("name", ""),
    }
    if "measures" in method:
        measures = method["measures"]
        if not isinstance(measures, list):
            raise SpecError(f"method.measures: must be a list of names, got {show(measures)}")
        try:
            arguments["measures"] = check_measures(measures, MEASURES)
        except SpecError as error:
            raise SpecError(f"method.{error}") from None
    return arguments


def _check_keys(document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        if key == "name":
            _text("name", value)
        elif key not in _TABLES:
            tables = [table for table, keys in _TABLES.items() if key in keys]
            fix = f"belongs in the table [{tables[0]}]" if tables else "is not a key of a panel's"
            hint = "" if tables else f" file{suggest(key, (*_TABLES, 'name'))}"
            raise SpecError(f"{key}: {fix}{hint}")
        elif not isinstance(value, dict):
            raise SpecError(f"{key}: must be a table, got {show(value)}; write [{key}]")
    for table, known in _TABLES.items():
        for key in document.get(table, {}):
            if key in known:
                continue
            for other, keys in _TABLES.items():
                if key in keys:
                    raise SpecError(f"{table}.{key}: belongs in the table [{other}]")
            raise SpecError(
                f"{table}.{key}: is not known here; must be of {', '.join(known)}"
                f"{suggest(key, known)}"
            )


def _columns(mapped: object) -> dict[str, str]:
    place = "panel.columns"
    if not isinstance(mapped, dict):
        example = 'write columns = { equity = "market_cap" }'
        raise SpecError(f"{place}: must be a table, got {show(mapped)}; {example}")
    for key, name in mapped.items():
        if key not in COLUMNS:
            raise SpecError(
                f"{place}.{key}: must set one of {', '.join(COLUMNS)}{suggest(key, COLUMNS)}"
            )
        _text(f"{place}.{key}", name)
        if list(mapped.values()).count(name) > 1:
            raise SpecError(f"{place}.{key}: each column can be one input only, got {name!r} twice")
    return dict(mapped)


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{place}: must be text, got {show(value)}")
    return value
