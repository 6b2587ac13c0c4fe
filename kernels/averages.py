"""What curves and dividends up to expiry come to, where nothing but the spot at expiry counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .elementary import exp
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Floats, Indices

# Rows of `out`: averages of rate, yield and root mean square vol up to expiry; the latter's
# derivative by a parallel shift; what proportional dividends leave of a share; the present value
# of the cash dividends, and minus its derivative by a parallel shift of the rate.
ROWS = ("rate", "dividend_yield", "vol", "vol_slope", "left", "paid", "paid_slope")


@kernel
def averages(
    segment_offsets: Indices,
    segment_ends: Floats,
    r: Floats,
    q: Floats,
    sigma: Floats,
    event_offsets: Indices,
    event_times: Floats,
    event_cash: Floats,
    event_proportional: Floats,
    expiries: Floats,
    out: Floats,
) -> None:
    """Write ROWS of F families, each with one expiry, to `out`, shape (7, F).

    The segments of family f, with constant r, q and sigma, end at
    ``segment_ends[segment_offsets[f]:segment_offsets[f + 1]]``, the last at or after its expiry.
    """
    for f in range(len(expiries)):
        T = expiries[f]
        event, last_event = event_offsets[f], event_offsets[f + 1]
        rate = dividend_yield = variance = vol = start = 0.0
        left, paid, paid_slope = 1.0, 0.0, 0.0
        for i in range(segment_offsets[f], segment_offsets[f + 1]):
            end = min(segment_ends[i], T)
            while event < last_event and event_times[event] <= end:
                t = event_times[event]
                value = event_cash[event] * exp(-(rate + r[i] * (t - start)))
                paid += value
                paid_slope += t * value
                left *= 1.0 - event_proportional[event]
                event += 1
            span = end - start
            rate += r[i] * span
            dividend_yield += q[i] * span
            variance += sigma[i] * sigma[i] * span
            vol += sigma[i] * span
            start = end
        root = np.sqrt(variance / T)
        out[0, f], out[1, f], out[2, f] = rate / T, dividend_yield / T, root
        out[3, f] = vol / T / root if root > 0.0 else 1.0
        out[4, f], out[5, f], out[6, f] = left, paid, paid_slope


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int64."""
    one, offsets = np.ones(1), np.array([0, 1])
    averages(offsets, one, one, one, one, offsets, one, one, one, one, np.empty((len(ROWS), 1)))
