"""Option prices and greeks, each with its numerical error: one at a time, by arrays, by grids.

Names are imported when they are used, so that importing this package loads no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import merton
    from .book import Book
    from .contracts import (
        Asian,
        Barrier,
        Basket,
        BasketMarket,
        Cliquet,
        Digital,
        DoubleBarrier,
        DoubleTouch,
        ForwardStart,
        Heston,
        Lookback,
        Market,
        Merton,
        Status,
        Touch,
        Vanilla,
    )
    from .dated import Correlation, Curve, Dates, Dividends, Fixings, Vector
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
    from .reading import read_spec
    from .run import Run, open_run, submit
    from .settings import MEASURES, METHODS

__version__ = "0.1.0"

_HOMES = {
    "book": ("Book",),
    "contracts": (
        "Asian",
        "Barrier",
        "Basket",
        "BasketMarket",
        "Cliquet",
        "Digital",
        "DoubleBarrier",
        "DoubleTouch",
        "ForwardStart",
        "Heston",
        "Lookback",
        "Market",
        "Merton",
        "Status",
        "Touch",
        "Vanilla",
    ),
    "dated": ("Correlation", "Curve", "Dates", "Dividends", "Fixings", "Vector"),
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
    "reading": ("read_spec",),
    "run": ("Run", "open_run", "submit"),
    "settings": ("MEASURES", "METHODS"),
}
# Used with their name before what they have: pricer.merton.implied_assets.
_MODULES = ("merton",)
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MEASURES",
    "METHODS",
    "Asian",
    "Barrier",
    "Basket",
    "BasketMarket",
    "Book",
    "Cliquet",
    "Correlation",
    "Curve",
    "Dates",
    "Digital",
    "Dividends",
    "DoubleBarrier",
    "DoubleTouch",
    "Fixings",
    "ForwardStart",
    "Grid",
    "Heston",
    "ImpliedStatus",
    "ImpliedVolatilities",
    "Lookback",
    "Market",
    "Merton",
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
    "Vector",
    "implied_volatility",
    "merton",
    "open_run",
    "price",
    "read_spec",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Import the module that has `name`, or is it, once."""
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported."""
    return sorted([*__all__, "__version__"])
