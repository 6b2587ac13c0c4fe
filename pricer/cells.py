"""Flat cells: the inputs of n options as columns, and what may be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .contracts import (
    ABOVE_ZERO,
    ALLOWED,
    BESIDE,
    CONTRACTS,
    CURVES,
    INPUTS,
    MODELS,
    NUMBER_DEFAULTS,
    NUMBERS,
    TABLES,
    TYPES,
    WORDS,
    AnyMarket,
    Contract,
    Heston,
    Market,
    Merton,
    check_beside,
    check_number,
    check_table,
    code_of,
    defaults_of,
    inputs_of,
    not_negative,
)
from .dated import Correlation, Curve, Dates, Fixings, Table, Vector
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Column = NDArray[Any]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

NO_TABLE = -1
UNREAD = np.int8(-128)  # the code of no word


class Fault(NamedTuple):
    """Cells whose input `name` breaks a rule: where, shape (n,)."""

    name: str
    rule: str
    where: Booleans


@dataclass(frozen=True, slots=True)
class Cells:
    """Flat inputs of n cells: `columns` by name, each of shape (n,).

    Words are int8 codes (`contracts.WORDS`), numbers float64 with NaN where one is missing, tables
    int32 places in `tables`, -1 where there is none. An input that may be a curve has a second
    column, ``vol_curve``, where any is one; its number is 0 there. A column that is not given reads
    as the first word, a missing number or its default, or no table.
    """

    columns: Mapping[str, Column]
    tables: tuple[Table, ...] = ()

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(next(iter(self.columns.values())))

    def __getattr__(self, name: str) -> Column:
        """Return the column of one input."""
        if name in self.columns:
            return self.columns[name]
        if name in WORDS:
            return np.broadcast_to(np.int8(0), len(self))
        if name in NUMBERS:
            return np.broadcast_to(NUMBER_DEFAULTS.get(name, np.nan), len(self))
        if name in TABLES or name in CURVE_COLUMNS:
            return np.broadcast_to(np.int32(NO_TABLE), len(self))
        raise AttributeError(name)

    def __getitem__(self, index: Any) -> Cells:
        """Return the cells that a NumPy index of the first dimension selects."""
        count = len(np.atleast_1d(np.broadcast_to(False, len(self))[index]))
        return Cells({n: _take(c, index, count) for n, c in self.columns.items()}, self.tables)

    def kinds(self) -> Iterator[tuple[str, Booleans]]:
        """Yield each type of contract that is there, and where, shape (n,)."""
        codes = self.columns.get("type")
        present = (0,) if codes is None else _distinct(codes)
        for code in present:
            yield tuple(TYPES)[code], self.type == code

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with inputs of some cells, in the order of `INPUTS`."""
        for kind, here in self.kinds():
            for name in inputs_of(kind):
                if name not in self.columns and not self._may_lack(kind, name):
                    continue
                for rule, where in self._broken(kind, name):
                    if (where := where & here).any():
                        yield Fault(name, rule, where)

    def _broken(self, kind: str, name: str) -> Iterator[tuple[str, Booleans]]:
        column = getattr(self, name)
        if allowed := ALLOWED.get((kind, name)):
            codes = [WORDS[name][word] for word in allowed]
            yield f"must be {' or '.join(allowed)}", ~np.isin(column, codes)
        elif name in NUMBERS and (name in self.columns or name not in NUMBER_DEFAULTS):
            number = column if name not in CURVES else np.where(self._curved(name), 0.0, column)
            yield "is missing", np.isnan(number) & self._needed(kind, name)
            yield "must be finite", np.isinf(number)
            if name in ABOVE_ZERO:
                yield "must be above 0", number <= 0
            elif not_negative(kind, name):
                yield "must not be negative", number < 0
            yield from self._numbers_broken(kind, name, number)
        elif name in TABLES:
            yield "is missing", (column == NO_TABLE) & self._needed(kind, name)
            if name in self.columns:
                yield from self._tables_broken(name, column)

    def _may_lack(self, kind: str, name: str) -> bool:
        """Tell whether some cell may need an input of which there is no column."""
        if beside := BESIDE.get((kind, name)):
            of, words = beside
            return of in self.columns or next(iter(WORDS[of])) in words
        if name == "running_average":
            return not {"past_fixings", "elapsed"}.isdisjoint(self.columns)
        return name not in defaults_of(kind)

    def _needed(self, kind: str, name: str) -> Booleans:
        """Tell where an input must have a value, shape (n,)."""
        if beside := BESIDE.get((kind, name)):
            of, words = beside
            return np.isin(getattr(self, of), [WORDS[of][word] for word in words])
        if name == "running_average":
            seasoned: Booleans = (self.past_fixings > 0) | (self.elapsed > 0)
            return seasoned
        return np.broadcast_to(defaults_of(kind).get(name, "") is not None, len(self))

    def _numbers_broken(
        self, kind: str, name: str, number: Floats
    ) -> Iterator[tuple[str, Booleans]]:
        """Yield what is wrong with a number beside other inputs."""
        match name:
            case "upper_barrier":
                yield "must be above the lower barrier", number <= self.lower_barrier
            case "past_fixings":
                yield "must be a whole number", number != np.floor(number)
                continuous = self.fixing_dates == NO_TABLE
                yield "must be 0 without fixing_dates", continuous & (number > 0)
            case "elapsed" | "averaging_start":
                discrete = self.fixing_dates != NO_TABLE
                yield "must be 0 beside fixing_dates", discrete & (number > 0)
                if name == "averaging_start":
                    yield "must be 0 where some time elapsed", (number > 0) & (self.elapsed > 0)
                    yield "must be before the expiry", (number > 0) & (number >= self.expiry)
            case "lookback_start" | "lookback_end" | "start":
                yield "must not be past the expiry", number > self.expiry
                if name == "lookback_end":
                    yield "must not be before lookback_start", number < self.lookback_start
            case "local_cap" | "global_cap":
                floor = getattr(self, name.replace("cap", "floor"))
                yield "must not be below the floor", number < floor
            case "variance_correlation":
                yield "must lie between -1 and 1", np.abs(number) > 1
            case "greek_asset":
                yield "must be a whole number", number != np.floor(number)
                yield "must be the number of an asset", number > self.assets()

    def _tables_broken(self, name: str, column: Column) -> Iterator[tuple[str, Booleans]]:
        """Yield what is wrong with tables beside other inputs."""
        if name in ("fixing_dates", "reset_dates"):
            last = self.of_tables(name, lambda t: t.times[-1] if isinstance(t, Fixings) else 0.0)
            past = last > self.expiry if name == "fixing_dates" else last >= self.expiry
            must = "must not be past the expiry" if name == "fixing_dates" else "must be before it"
            yield must.replace("it", "the expiry"), past
        elif name in ("vols", "dividend_yields", "weights"):
            yield (
                "must have as many values as spots",
                (self.assets(name) != self.assets()) & (column != NO_TABLE),
            )
        elif name == "correlation":
            given = self.of_tables(name, lambda t: t.assets if isinstance(t, Correlation) else 0)
            assets = self.assets()
            yield "must be of as many assets as spots", (given > 0) & (given != assets)
            one = self.of_tables(name, _one_for_all)
            yield "must be at least -1 / (assets - 1)", one * (assets - 1) < -1.0 - 1e-12

    def of_tables(self, name: str, read: Callable[[Table], float]) -> Floats:
        """Read a number of the table that each cell has for an input, 0 where none; shape (n,)."""
        numbers: Floats = np.array([*map(read, self.tables), 0.0], np.float64)[getattr(self, name)]
        return numbers

    def assets(self, name: str = "spots") -> Floats:
        """Return how many numbers the vector of each cell has, shape (n,)."""
        return self.of_tables(name, lambda t: len(t.values) if isinstance(t, Vector) else 0)

    def _curved(self, name: str) -> Booleans:
        curved: Booleans = getattr(self, f"{name}_curve") != NO_TABLE
        return curved

    def valid(self) -> Booleans:
        """Tell which cells can be priced, shape (n,)."""
        good = np.ones(len(self), dtype=bool)
        for fault in self.faults():
            good &= ~fault.where
        return good

    def reason(self, index: int) -> str:
        """Say why the cell at `index` cannot be priced; empty if its inputs can be."""
        reasons = []
        for fault in self[index].faults():
            got = "" if fault.rule == "is missing" else f", got {self.shown(fault.name, index)}"
            reasons.append(f"{fault.name} {fault.rule}{got}")
        return "; ".join(reasons)

    def shown(self, name: str, index: int) -> str | float | None:
        """Return one input as JSON can hold it: a word, a number, a table's label, or None."""
        value = float(getattr(self, name)[index])
        if name in WORDS:
            return words_by_code(name)[int(value)]
        if name in TABLES:
            return None if value == NO_TABLE else self.tables[int(value)].called
        if name in CURVES and (place := int(getattr(self, f"{name}_curve")[index])) != NO_TABLE:
            return self.tables[place].called
        if np.isfinite(value):
            return value
        return None if np.isnan(value) else str(value)


def _one_for_all(table: Table) -> float:
    if isinstance(table, Correlation) and not table.assets:
        return float(table.matrix(2)[0, 1])
    return 0.0


def words_by_code(name: str) -> dict[int, str]:
    """Return the words of an input by their codes."""
    return {code: word for word, code in WORDS[name].items()}


CURVE_COLUMNS = tuple(f"{name}_curve" for name in CURVES)


def _take(column: Column, index: Any, count: int) -> Column:
    """Index a column; one that repeats a value goes on doing so without memory."""
    if column.strides == (0,) and len(column):
        return np.broadcast_to(column[0], count)
    return np.atleast_1d(column[index])


def _distinct(codes: Column) -> tuple[int, ...]:
    if codes.strides == (0,):
        return tuple(codes[:1].tolist())
    return tuple(np.unique(codes).tolist())


class Tables:
    """Numbers the tables of some cells, each once."""

    def __init__(self) -> None:
        self._places: dict[Table, int] = {}

    def place(self, name: str, table: object) -> int:
        """Return where `table`, an input `name`, is; -1 for None."""
        if table is None:
            return NO_TABLE
        kind = TABLES.get(name, Curve)
        if kind is Fixings and isinstance(table, Dates):
            table = Fixings(table.times, table.label)
        if not isinstance(table, kind):
            raise SpecError(f"{name}: must be {kind.__name__}, got {table!r:.60}")
        try:
            check_table(name, table)
        except SpecError as error:
            raise SpecError(f"{name}: {error}") from None
        return self._places.setdefault(table, len(self._places))

    def all(self) -> tuple[Table, ...]:
        """Return the tables in the order of their places."""
        return tuple(self._places)


def broadcast(contract: Contract, market: AnyMarket) -> tuple[Cells, tuple[int, ...]]:
    """Broadcast every field by NumPy's rules; return the flat cells and their common shape."""
    kind = next(name for name, its_class in CONTRACTS.items() if type(contract) is its_class)
    tables = Tables()
    arrays: dict[str, Column] = {}
    without = isinstance(market, Market) and isinstance(market.model, Heston)
    for part in (contract, market):
        for field in fields(part):
            value = getattr(part, field.name)
            if not (without and field.name == "vol" and value is field.default):
                arrays |= _arrays(kind, field.name, value, tables)
    strike = arrays.get("strike")
    if strike is not None and strike.ndim == 0 and strike < 0 and not_negative(kind, "strike"):
        raise SpecError(f"strike: must not be negative, got {strike}")
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    except ValueError:
        shapes = ", ".join(
            f"{n} {arrays[n].shape}" for n in INPUTS if n in arrays and arrays[n].ndim
        )
        raise SpecError(f"fields: shapes must broadcast, got {shapes}") from None
    count = int(np.prod(shape))
    flat = {
        name: np.broadcast_to(a.reshape(()), count)
        if a.size == 1
        else np.broadcast_to(a, shape).reshape(-1)
        for name, a in arrays.items()
    }
    if "cash_dividends" not in flat:
        flat.pop("dividend_model", None)
    for name in flat:
        if beside := BESIDE.get((kind, name)):
            codes = _distinct(flat.get(beside[0], np.zeros(1, np.int8)))
            check_beside(name, *beside, [words_by_code(beside[0])[code] for code in codes])
    flat["type"] = np.broadcast_to(np.int8(TYPES[kind]), count)
    cells = Cells(
        {n: flat[n] for n in ("type", *INPUTS, *CURVE_COLUMNS) if n in flat}, tables.all()
    )
    if not shape and (reason := cells.reason(0)):
        name, _, rule = reason.partition("; ")[0].partition(" ")
        raise SpecError(f"{name}: {rule}")
    return cells, shape


def _arrays(kind: str, name: str, value: Any, tables: Tables) -> dict[str, Column]:
    """Return the columns of one field; nothing for what is not given."""
    if name == "model":
        return _model_arrays(value)
    if value is None:
        return {}
    if name in WORDS:
        codes = _codes(name, value)
        if (kind, name) in ALLOWED and codes.ndim == 0:
            _check_allowed(kind, name, int(codes))
        return {name: codes}
    if name in TABLES:
        return {name: _places(name, value, tables)}
    if name in CURVES and _has_table(value):
        numbers = np.zeros(np.shape(_objects(value)))
        curves = np.full(numbers.shape, NO_TABLE, np.int32)
        for at, one in np.ndenumerate(_objects(value)):
            if isinstance(one, Curve) and not one.flat:
                curves[at] = tables.place(name, one)
            else:
                numbers[at] = numbers_of(name, one.values[0] if isinstance(one, Curve) else one)
        return {name: numbers, f"{name}_curve": curves}
    return {name: numbers_of(name, value)}


def _model_arrays(model: Merton | Heston | None) -> dict[str, Column]:
    if model is None:
        return {}
    word = next((word for word, kind in MODELS.items() if kind and isinstance(model, kind)), None)
    if word is None:
        raise SpecError(f"model: must be Merton or Heston, got {model!r:.60}")
    numbers = {f.name: numbers_of(f.name, getattr(model, f.name)) for f in fields(model)}
    return {"model": np.array(WORDS["model"][word], np.int8), **numbers}


def _check_allowed(kind: str, name: str, code: int) -> None:
    words = ALLOWED[kind, name]
    if code not in [WORDS[name][word] for word in words]:
        got = words_by_code(name)[code]
        raise SpecError(f"{name}: must be {' or '.join(words)} here, got {got!r}")


def _has_table(value: Any) -> bool:
    if isinstance(value, Curve):
        return True
    if isinstance(value, np.ndarray) and value.dtype != object:
        return False
    return isinstance(value, list | tuple | np.ndarray) and any(
        isinstance(one, Curve) for one in np.asarray(_objects(value)).flat
    )


def _objects(value: Any) -> NDArray[np.object_]:
    if isinstance(value, np.ndarray):
        return value.astype(object)
    if not isinstance(value, list | tuple):
        array = np.empty((), object)
        array[()] = value
        return array
    several = np.empty(len(value), object)
    several[:] = value
    return several


def _vectors(value: Any) -> Any:
    """Return numbers whose last dimension is of assets as vectors; what is no number as it is."""
    array = np.asarray(value) if isinstance(value, list | tuple | np.ndarray) else None
    if array is None or array.dtype.kind not in "iuf" or not array.ndim:
        return value
    vectors = np.empty(array.shape[:-1], object)
    for at in np.ndindex(vectors.shape):
        vectors[at] = Vector(array[at])
    return vectors if vectors.ndim else vectors[()]


def _correlations(value: Any) -> Any:
    """Return matrices in the last two dimensions, or numbers, as correlations."""
    array = np.asarray(value) if isinstance(value, int | float | list | np.ndarray) else None
    if array is None or array.dtype.kind not in "iuf":
        return value
    matrices = np.empty(array.shape[:-2] if array.ndim > 1 else array.shape, object)
    for at in np.ndindex(matrices.shape):
        matrices[at] = Correlation(array[at].tolist())
    return matrices if matrices.ndim else matrices[()]


def _places(name: str, value: Any, tables: Tables) -> Column:
    if TABLES[name] is Vector:
        value = _vectors(value)
    elif TABLES[name] is Correlation:
        value = _correlations(value)
    objects = _objects(value)
    places = [tables.place(name, table) for table in objects.flat]
    return np.array(places, np.int32).reshape(objects.shape)


def _codes(field: str, words: Any) -> NDArray[np.int8]:
    array = np.asarray(words)
    if array.dtype.kind not in "UT" and not all(isinstance(word, str) for word in array.flat):
        got = " ".join(repr(words).split())
        raise SpecError(f"{field}: must be a word or an array of words, got {got[:80]}")
    codes = np.full(array.shape, UNREAD)
    for word, code in WORDS[field].items():
        codes[array == word] = code
    unread = codes == UNREAD
    if unread.any():
        unique, inverse = np.unique(array[unread].astype(np.str_), return_inverse=True)
        read = np.array([code_of(field, word) for word in unique.tolist()], dtype=np.int8)
        codes[unread] = read[inverse]
    return codes


def numbers_of(field: str, values: Any) -> Floats:
    """Return a field as an array, NaN where a value is missing or masked."""
    try:
        array: Any = np.ma.asanyarray(values)
    except ValueError:  # a ragged list
        array = np.ma.asanyarray("")
    if array.dtype.kind not in "iuf":
        got = " ".join(repr(values).split())
        raise SpecError(f"{field}: must be a number or an array of numbers, got {got[:80]}")
    whole = array.mask is np.ma.nomask
    numbers: Floats = np.asarray(
        array.data if whole else array.astype(np.float64).filled(np.nan), np.float64
    )
    if numbers.ndim == 0:
        check_number(field, float(numbers))
    return numbers
