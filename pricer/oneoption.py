"""One option, priced: the document that the command line and HTTP answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cells import broadcast
from .contracts import described, shown_of
from .pricing import price
from .settings import MEASURES
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping


def price_one(
    kind: str, inputs: Mapping[str, Any], workers: int | None = None, **settings: Any
) -> dict[str, Any]:
    """Price one contract of this type: its inputs, measures, error, status, method and reason.

    `settings` are those of `price`. What has no price has measures and an error that are NaN.
    """
    one, world = described(kind, inputs)
    prices = price(one, world, workers=workers, **settings)
    cells, _ = broadcast(one, world)
    document: dict[str, Any] = {} if kind == "vanilla" else {"type": kind}
    document |= {name: cells.shown(name, 0) for name in shown_of([kind], inputs)}
    document |= dict.fromkeys(MEASURES)
    document |= {name: column.tolist()[0] for name, column in prices.columns().items()}
    failures = summarise(prices[None], (), 0, lambda numbers: cells[numbers]).failures
    document["reason"] = failures[0].reason if failures else ""
    return document
