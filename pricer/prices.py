"""What options are worth, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import Status
from .errors import MissingDependencyError
from .settings import BOUNDS, MEASURES, METHODS, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Prices:
    """What options are worth: arrays of one shape. A measure not asked for is None.

    `delta` and `gamma` are per unit of spot, `vega` per 1.00 of vol, `theta` per year (negative
    is decay), `rho` and `dividend_rho` per 1.00 of rate. `error` is the estimated absolute error
    of the price, `status` a `Status` as uint8, `method` an index into `METHODS` (0 where a cell
    was not priced; its values are NaN). `standard_error` and those of the greeks are what a
    simulation's random numbers leave open, 0 for other methods; `low` and `high` bound the price
    of what may be exercised early. `paths` is how many a simulation took and `control` the control
    variate that it used, if any; both are None where nothing was simulated. `dividend_model` is the
    model of each cell's cash dividends, ``spot`` or ``escrowed``; None where no cell has any.
    """

    price: Floats | None
    delta: Floats | None
    gamma: Floats | None
    vega: Floats | None
    theta: Floats | None
    rho: Floats | None
    dividend_rho: Floats | None
    error: Floats
    status: Codes
    method: Codes
    standard_error: Floats | None = None
    delta_standard_error: Floats | None = None
    gamma_standard_error: Floats | None = None
    vega_standard_error: Floats | None = None
    theta_standard_error: Floats | None = None
    rho_standard_error: Floats | None = None
    dividend_rho_standard_error: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    paths: NDArray[np.int64] | None = None
    control: NDArray[np.str_] | None = None
    dividend_model: NDArray[np.str_] | None = None

    @classmethod
    def blank(cls, count: int, measures: Iterable[str], *, simulated: bool) -> Prices:
        """Return `count` cells to `put` prices into, with the paths of what is `simulated`."""
        values: dict[str, Any] = dict.fromkeys(MEASURES)
        for name in (*measures, "error"):
            values[name] = np.full(count, np.nan)
        for name in ("status", "method"):
            values[name] = np.zeros(count, np.uint8)
        if simulated:
            values |= {"paths": np.zeros(count, np.int64), "control": np.full(count, "", "U16")}
        return cls(**values)

    def put(self, where: Any, part: Prices) -> None:
        """Write the prices of some cells; what only a simulation has is 0, or the price itself."""
        for f in fields(self):
            array, given = getattr(self, f.name), getattr(part, f.name)
            if array is None:
                continue
            if given is not None:
                array[where] = given
            elif f.name in STATISTICS:
                array[where] = np.where(np.isnan(part.error), np.nan, 0.0)
            elif f.name in BOUNDS and part.price is not None:
                array[where] = part.price

    def reshaped(self, shape: tuple[int, ...]) -> Prices:
        """Return the same prices as arrays of `shape`."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        given: dict[str, Any] = {
            n: None if a is None else a.reshape(shape) for n, a in arrays.items()
        }
        return Prices(**given)

    def __getitem__(self, index: Any) -> Prices:
        """Return the part of every array that a NumPy index selects."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {n: None if a is None else a[index] for n, a in arrays.items()}
        return Prices(**parts)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the arrays there are, flat, by name; status and method as words."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        columns = {name: a.reshape(-1) for name, a in arrays.items() if a is not None}
        columns["status"] = np.array([s.name for s in Status])[columns["status"]]
        columns["method"] = np.array(("", *METHODS[1:]))[columns["method"]]
        return columns

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`, one row a cell, in C order."""
        try:
            import pyarrow as pa
        except ImportError:
            raise MissingDependencyError("to_arrow: needs pyarrow: pip install pyarrow") from None
        return pa.table(self.columns())

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`, one row a cell, in C order."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependencyError("to_pandas: needs pandas: pip install pandas") from None
        return pd.DataFrame(self.columns())
