"""How errors fall: with cost and with the mesh."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from . import figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pricer.convergence import Convergence, Cost

MARKS = ("o", "s", "^", "D")


def draw_convergence(found: Convergence, path: Path) -> None:
    """Draw errors against cost and against mesh intervals, side by side, all logarithmic."""
    with figure(path, 18, 5.4) as drawn:
        drawn.suptitle("Errors per 100 of strike, one core")
        by_cost, by_mesh, by_paths = drawn.subplots(1, 3)
        _draw_costs(by_cost, found.costs)
        by_cost.set(title=f"{found.options} American puts and calls")
        _draw_costs(by_paths, found.watched_costs)
        by_paths.set(title=f"{found.watched} knock-outs watched on dates")
        for mark, order in zip(MARKS, found.orders, strict=False):
            label = f"{order.values}, order {order.order:.2f}"
            by_mesh.plot(order.intervals, order.rms_errors, f"{mark}-", label=label)
        by_mesh.set(title="American at the money, by mesh", xlabel="mesh intervals")
        for axes in (by_cost, by_mesh, by_paths):
            axes.set(xscale="log", yscale="log", ylabel="rms error")
            axes.margins(x=0.15)
            axes.legend()


def _draw_costs(axes: Any, found: Sequence[Cost]) -> None:
    """Draw the errors of engines against what they take, with their settings."""
    engines = groupby(found, key=lambda cost: cost.engine)
    for mark, (engine, costs) in zip(MARKS, engines, strict=False):
        points = list(costs)
        across, up = [1e6 * c.seconds for c in points], [c.rms_error for c in points]
        axes.plot(across, up, f"{mark}-", label=engine)
        # Settings that come to the same values share a label.
        for error, same in groupby(points, key=lambda cost: cost.rms_error):
            alike = list(same)
            place = (1e6 * alike[0].seconds, error)
            words = ", ".join(cost.setting for cost in alike)
            axes.annotate(words, place, (7, 4), textcoords="offset points", fontsize="small")
    axes.set(xlabel="µs an option, set-up included")
