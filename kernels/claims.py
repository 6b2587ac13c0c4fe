"""What is owed, per unit: the one description that every product with dates is translated to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .jit import kernel

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

KNOCKS_OUT, KNOCKS_IN = 1, 2
CASH_AT_EXPIRY, ASSET_AT_HIT, ASSET_AT_EXPIRY = 1, 2, 3  # 0: cash at hit


class Contracts(NamedTuple):
    """F families, per unit of their contracts; s is spot over unit, times are years from now.

    At expiry alpha s + beta is paid where theta (s - kink) > 0. `knock` is 0 without barriers, 1
    out, 2 in; `lower` and `upper` are 0 and inf where there is none. A knock-out pays its rebate
    as `timing` says: 0 cash at hit, 1 cash at expiry, 2 shares at hit, 3 shares at expiry; a
    knock-in pays `lower_rebate` at expiry if it was never knocked in. `american` is exercised at
    any time into alpha s + beta (a knock-in once knocked in). `continuous` barriers are watched
    at all times, others on the dates of monitoring. `low` and `high` bound spot over unit.

    Several expiries, increasing, are for flat coefficients without events only. Coefficients are
    constant in segments, the last of which ends at the last expiry or later. On a date, forward
    in time: barriers are watched, the holder may exercise, the dividend drops the spot: by
    `event_cash`, not below 0, then by the fraction `event_proportional`; a payoff on the same
    date is on what is left. With `escrowed` cash dividends do not drop the state: it is the spot
    less their present value. Fields have shape (F,), offsets (F + 1,).
    """

    theta: Codes
    alpha: Floats
    beta: Floats
    kink: Floats
    knock: Codes
    lower: Floats
    upper: Floats
    lower_rebate: Floats
    upper_rebate: Floats
    timing: Codes
    american: Codes
    continuous: Codes
    escrowed: Codes
    low: Floats
    high: Floats
    expiry_offsets: Indices
    expiries: Floats
    segment_offsets: Indices
    segment_ends: Floats
    r: Floats
    q: Floats
    sigma: Floats
    event_offsets: Indices
    event_times: Floats
    event_exercise: Codes
    event_monitor: Codes
    event_cash: Floats
    event_proportional: Floats


@kernel
def payoff(contracts: Contracts, f: int, s: float) -> float:
    """Return what is paid at expiry at s."""
    if contracts.theta[f] * (s - contracts.kink[f]) > 0.0:
        return float(contracts.alpha[f] * s + contracts.beta[f])
    return 0.0


@kernel
def is_bent(contracts: Contracts, f: int) -> bool:
    """Say whether the payoff has a kink at all: touches have none."""
    paid = contracts.alpha[f] != 0.0 or contracts.beta[f] != 0.0
    return bool(paid and contracts.kink[f] > 0.0)


@kernel
def is_never_negative(contracts: Contracts, f: int) -> bool:
    """Say whether nothing that is paid can be less than 0, as a gap option's payoff can."""
    slope = contracts.alpha[f]
    at_kink = slope * contracts.kink[f] + contracts.beta[f] if is_bent(contracts, f) else 0.0
    far = slope if contracts.theta[f] > 0 else contracts.beta[f]
    if min(contracts.lower_rebate[f], contracts.upper_rebate[f]) < 0.0:
        return False
    # Rounding of alpha kink + beta, which is 0 for a vanilla, is no negative payoff.
    return bool(at_kink > -1e-14 * abs(contracts.beta[f]) and far >= 0.0)


@kernel
def rebate(
    timing: int, amount: float, s: float, discount: float, shares: float, debt: float
) -> float:
    """Return what a rebate is worth when knocked out at s.

    `discount` is what 1 at expiry is worth now, `shares` s - `debt` what a share then is.
    """
    if timing == CASH_AT_EXPIRY:
        return amount * discount
    if timing == ASSET_AT_HIT:
        return amount * s
    if timing == ASSET_AT_EXPIRY:
        return amount * max(shares * s - debt, 0.0)
    return amount


@kernel
def merge_segments(contracts: Contracts) -> tuple[Indices, Floats, Floats, Floats, Floats]:
    """Join neighbouring segments of equal coefficients; drop what begins after the last expiry.

    Returns the fields `segment_offsets` to `sigma`: a flat curve is then one segment, bit by bit.
    """
    offsets = contracts.segment_offsets.copy()
    ends, r, q = contracts.segment_ends.copy(), contracts.r.copy(), contracts.q.copy()
    sigma = contracts.sigma.copy()
    count = 0
    for f in range(len(contracts.theta)):
        first = count
        last_expiry = contracts.expiries[contracts.expiry_offsets[f + 1] - 1]
        for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
            if count > first and ends[count - 1] >= last_expiry:
                break
            same = (
                count > first
                and r[count - 1] == contracts.r[g]
                and q[count - 1] == contracts.q[g]
                and sigma[count - 1] == contracts.sigma[g]
            )
            if not same:
                r[count], q[count], sigma[count] = (
                    contracts.r[g],
                    contracts.q[g],
                    contracts.sigma[g],
                )
                count += 1
            ends[count - 1] = contracts.segment_ends[g]
        offsets[f + 1] = count
    return offsets, ends[:count].copy(), r[:count].copy(), q[:count].copy(), sigma[:count].copy()
