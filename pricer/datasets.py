"""A run of a grid as a labelled dataset of xarray, read from its blocks as it is asked for."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from .contracts import Status
from .grid import shown
from .selection import axis_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .plan import GridPlan

    Indices = NDArray[np.int64]
    Table = dict[str, NDArray[Any]]
    Read = Callable[[Indices, Sequence[str]], Table]

# Read at once: 32 MB a column.
PIECE_CELLS = 2**22
# What was read last is kept with all its columns if it is no larger, for the next variable.
KEPT_BYTES = 2**27

_CURRENCY, _YEARS, _A_YEAR = "currency", "years", "per year"
_UNITS = {
    "price": _CURRENCY,
    "delta": "1",
    "gamma": "1 / currency",
    "vega": "currency per 1.00 of vol",
    "theta": "currency per year",
    "rho": "currency per 1.00 of rate",
    "dividend_rho": "currency per 1.00 of dividend yield",
    "low": _CURRENCY,
    "high": _CURRENCY,
    "error": _CURRENCY,
    "vol": "per square root of a year",
    "rate": "per year, continuously compounded",
    "dividend_yield": "per year, continuously compounded",
}
_UNITS |= dict.fromkeys(
    (
        *("spot", "strike", "barrier", "lower_barrier", "upper_barrier", "rebate", "cash"),
        *("payoff_strike", "running_average", "running_extremum", "notional"),
    ),
    _CURRENCY,
)
_UNITS |= dict.fromkeys(
    ("expiry", "elapsed", "averaging_start", "lookback_start", "lookback_end", "start"), _YEARS
)
_UNITS |= dict.fromkeys(
    ("jump_intensity", "mean_reversion", "initial_variance", "long_variance"), _A_YEAR
)
_LONG_NAMES = {
    "error": "estimated absolute error of the price",
    "low": "low bound of the price",
    "high": "high bound of the price",
}


def dataset(plan: GridPlan, read: Read) -> xr.Dataset:
    """Return the cells of `plan` as a dataset whose variables are read when they are asked for.

    `read` returns columns of cells by their numbers. Nothing is allocated but the axes.
    """
    return xr.open_dataset(_Cells(plan, read), engine=_Blocks)  # type: ignore[arg-type]


class _Cells:
    """Reads the cells of a run by positions on its axes."""

    def __init__(self, plan: GridPlan, read: Read) -> None:
        self.plan = plan
        self.columns = (*plan.measures, "error", "status")
        self.shape = tuple(map(len, plan.spec.axes))
        self._read = read
        self._last: tuple[tuple[bytes, ...], Table] = ((), {})

    def __deepcopy__(self, memo: object) -> _Cells:
        """Return this: what is stored does not change, and a store cannot be copied."""
        return self

    def column(self, name: str, positions: Sequence[Indices]) -> NDArray[Any]:
        """Return a column at all combinations of `positions` on the axes, in file order."""
        asked = tuple(on_axis.tobytes() for on_axis in positions)
        known, table = self._last
        if known == asked:
            return table[name].copy()
        size = prod(map(len, positions)) * self.plan.cell_bytes
        names = self.columns if size <= KEPT_BYTES else (name,)
        table = self._table(names, positions)
        if len(names) == 1:
            return table[name]
        self._last = asked, table
        return table[name].copy()

    def _table(self, names: Sequence[str], positions: Sequence[Indices]) -> Table:
        """Read columns in the order in which cells are stored, so that each block comes once."""
        plan = self.plan
        there = {
            axis.name: on_axis for axis, on_axis in zip(plan.spec.axes, positions, strict=True)
        }
        out: Table = {
            name: np.empty(tuple(map(len, positions)), np.uint8 if name == "status" else np.float64)
            for name in names
        }
        stored = tuple(len(there[axis.name]) for axis in plan.axes)
        for start in range(0, prod(stored), PIECE_CELLS):
            numbers = np.arange(start, min(start + PIECE_CELLS, prod(stored)))
            order = (axis.name for axis in plan.axes)
            at = dict(zip(order, np.unravel_index(numbers, stored), strict=True))
            cells = plan.numbers({axis: there[axis][at[axis]] for axis in there})
            place = tuple(at[axis] for axis in there)
            for name, column in self._read(np.broadcast_to(cells, len(numbers)), names).items():
                out[name][place] = column
        return out


class _Column(BackendArray):
    """One measure, the error or the status of every cell, shape as the axes in file order."""

    __slots__ = ("cells", "dtype", "name", "shape")

    def __init__(self, cells: _Cells, name: str) -> None:
        self.cells = cells
        self.name = name
        self.shape = cells.shape
        self.dtype = np.dtype(np.uint8 if name == "status" else np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read what xarray asks for."""
        support = indexing.IndexingSupport.OUTER
        values: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, support, self._outer
        )
        return values

    def _outer(self, key: tuple[int | slice | Indices, ...]) -> NDArray[Any]:
        """Return the combinations of a number, a slice or an array on each axis."""
        axes = zip(key, self.shape, strict=True)
        positions = [np.atleast_1d(np.arange(size, dtype=np.int64)[k]) for k, size in axes]
        numbers = tuple(i for i, k in enumerate(key) if isinstance(k, int | np.integer))
        return self.cells.column(self.name, positions).squeeze(numbers)


class _Blocks(BackendEntrypoint):
    """What xarray asks to open a run: it adds its own caching of what was read."""

    def open_dataset(  # type: ignore[override]
        self, filename_or_obj: _Cells, *, drop_variables: Any = None
    ) -> xr.Dataset:
        """Lay the columns of cells out as variables; reads none of them."""
        del drop_variables
        cells = filename_or_obj
        axes = axis_values(cells.plan)
        variables = {
            name: xr.Variable(
                tuple(axes), indexing.LazilyIndexedArray(_Column(cells, name)), _attributes(name)
            )
            for name in cells.columns
        }
        coordinates = {
            name: xr.Variable((name,), values, _attributes(name) if values.dtype == float else {})
            for name, values in axes.items()
        }
        return xr.Dataset(variables, coordinates, _settings(cells.plan))


def _attributes(name: str) -> dict[str, Any]:
    """Return what there is to say of a variable, named as the CF conventions do."""
    if name == "status":
        return {
            "long_name": "how the cell ended",
            "flag_values": np.array([status.value for status in Status], np.uint8),
            "flag_meanings": " ".join(status.name for status in Status),
        }
    of = name.removesuffix("standard_error")
    attributes = {"long_name": _LONG_NAMES.get(name, name.replace("_", " "))}
    if unit := _UNITS.get(name if of == name else of.removesuffix("_") or "price"):
        attributes["units"] = unit
    return attributes


def _settings(plan: GridPlan) -> dict[str, Any]:
    """Return what all cells have in common."""
    spec, settings = plan.spec, plan.settings
    return {
        "name": spec.name,
        "run": plan.run_id,
        "type": spec.type,
        **{name: shown(value) for name, value in spec.fixed.items()},
        "method": settings.method,
        "tolerance": settings.tolerance,
    }
