"""Time the making of lognormal paths, from nothing to every spot, on one core.

    taskset -c 0 python tests/benchmarks/draws.py

Every path-step is a normal, a step of the walk, and an exponential stored and summed.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pricer.compiled import kernels

kernels("averages")  # sets up numba before the modules below import it

from pricer.kernels.bridge import Bridge, bridge, walk  # noqa: E402
from pricer.kernels.draws import Draws, draws, normals, uniforms  # noqa: E402
from pricer.kernels.jit import kernel  # noqa: E402
from pricer.kernels.lane_elementary import exp_normal  # noqa: E402
from pricer.kernels.lanes import WIDTH, broadcast, load, store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEPS = 1e6
REPEATS = 40
STAGES = ("uniforms", "normals", "walk", "spots")


@kernel
def stage(
    number: int, draws: Draws, bridge: Bridge, blocks: int, z: Floats, w: Floats, sums: Floats
) -> None:
    """Run the stages up to this one over blocks of paths."""
    count, paths = z.shape
    for block in range(blocks):
        if number == 0:
            uniforms(draws, 0, block * paths, 0, count, z)
        else:
            normals(draws, 0, block * paths, 0, count, z)
        if number > 1:
            walk(bridge, z, w)
        if number > 2:
            total = broadcast(0.0)
            for i in range(count * (paths // WIDTH)):
                spot = exp_normal(load(w, i) - 0.02)
                store(z, i, spot)
                total = total + spot
            store(sums, 0, load(sums, 0) + total)


def best(function: Callable[[], None]) -> float:
    """Return the shortest of some times, in seconds."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print path-steps a second of each shape, and nanoseconds of each stage."""
    print(f"{'':24}{'path-steps/s':>14}" + "".join(f"{name:>10}" for name in STAGES))
    for sobol in (False, True):
        for dates in (52, 252):
            for paths in (256, 512):
                made, walked = draws(1, sobol, dates), bridge(np.arange(1.0, dates + 1), sobol)
                z, w, sums = np.empty((dates, paths)), np.empty((dates, paths)), np.zeros((1, 8))
                blocks = int(STEPS / (dates * paths))
                done = blocks * dates * paths
                took = [
                    best(partial(stage, n, made, walked, blocks, z, w, sums)) / done
                    for n in range(len(STAGES))
                ]
                name = f"{'sobol' if sobol else 'pseudo'} {dates} x {paths}"
                parts = np.diff(took, prepend=0.0) * 1e9
                print(f"{name:24}{1 / took[-1]:14.3g}" + "".join(f"{x:8.2f}ns" for x in parts))


if __name__ == "__main__":
    main()
