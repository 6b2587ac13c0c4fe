"""Option prices and greeks, each with its numerical error: one at a time, by arrays, by grids.

Names are imported when they are used, so that importing this package loads no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .book import Book
    from .contracts import (
        MEASURES,
        METHODS,
        Barrier,
        Digital,
        DoubleBarrier,
        DoubleTouch,
        Market,
        Status,
        Touch,
        Vanilla,
    )
    from .dated import Curve, Dates, Dividends
    from .errors import (
        MissingDependencyError,
        PricerError,
        RunNotFoundError,
        SpecError,
        StoreError,
    )
    from .grid import Grid
    from .implied import ImpliedStatus, ImpliedVolatilities, implied_volatility
    from .prices import Prices
    from .pricing import price
    from .run import Run, open_run, submit

__version__ = "0.1.0"

_HOMES = {
    "book": ("Book",),
    "contracts": (
        "MEASURES",
        "METHODS",
        "Barrier",
        "Digital",
        "DoubleBarrier",
        "DoubleTouch",
        "Market",
        "Status",
        "Touch",
        "Vanilla",
    ),
    "dated": ("Curve", "Dates", "Dividends"),
    "errors": (
        "MissingDependencyError",
        "PricerError",
        "RunNotFoundError",
        "SpecError",
        "StoreError",
    ),
    "grid": ("Grid",),
    "implied": ("ImpliedStatus", "ImpliedVolatilities", "implied_volatility"),
    "prices": ("Prices",),
    "pricing": ("price",),
    "run": ("Run", "open_run", "submit"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MEASURES",
    "METHODS",
    "Barrier",
    "Book",
    "Curve",
    "Dates",
    "Digital",
    "Dividends",
    "DoubleBarrier",
    "DoubleTouch",
    "Grid",
    "ImpliedStatus",
    "ImpliedVolatilities",
    "Market",
    "MissingDependencyError",
    "PricerError",
    "Prices",
    "Run",
    "RunNotFoundError",
    "SpecError",
    "Status",
    "StoreError",
    "Touch",
    "Vanilla",
    "implied_volatility",
    "open_run",
    "price",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Import the module that has `name`, once."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported."""
    return sorted([*__all__, "__version__"])
