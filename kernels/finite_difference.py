"""European and American options by finite differences: one solve prices a family.

With constant rate r, yield q and vol sigma a put is V(S, K, T) = K u(ln S/K, sigma^2 T), where u
depends on a = r/sigma^2 and b = q/sigma^2 alone, so one march in variance time prices every spot,
strike and expiry; a call is the put with spot and strike, r and q exchanged. The problem is

    u_t = u_xx/2 + mu u_x - a u,   mu = a - b - 1/2,   u >= 1 - exp(x) where American.

Space: a uniform mesh in x with the strike on a node, whose initial value is the payoff's average
over its cell, so that meshes nest and the error is even in h (Tavella and Randall 2000). Time:
TR-BDF2 (Bank et al. 1985), L-stable, on nodes about equal in sqrt(t), through every expiry. Early
exercise: each stage is solved with its complementarity condition by one elimination (Brennan and
Schwartz 1977; exact for one exercise boundary: Jaillet, Lamberton and Lapeyre 1990). The
derivatives in a and b march along with the same factors; vega follows from homogeneity in time.

Meshes double until the error holds: two extrapolated solutions (h, h/2 and h/2, h/4), each free
of the h^2 term, are compared node by node. `WIDTH` families march together, one a lane; a lane
never sees its neighbours, so neither do its bits.
"""

from typing import NamedTuple

import numpy as np

from .black_scholes import EPSILON, european
from .elementary import exp, log, normal_cdf
from .jit import kernel
from .lanes import WIDTH, broadcast, choose, load, store

BASE_NODES = 50  # mesh intervals at level 0; doubled by every level
BASE_STEPS = 10  # time steps at level 0 of a family with one expiry
START_STEPS = 5  # least steps at level 0 up to the first expiry
TOP_LEVEL = 7  # 6401 nodes, 1280 steps
NEWTON_STEPS = 3  # for the first node above the exercise boundary
STENCIL = 6  # nodes of the interpolating polynomial
SLACK = 1e-3  # of the tolerance, or of 1e-5 if that is larger, for truncating the domain
SAFETY = 0.6  # the error over the largest difference of extrapolations nearby
PECLET = 2.0  # drift times node spacing from which central differences may ring
NEARBY = 12  # nearby is this part of the mesh, to either side

ALPHA = 2.0 - np.sqrt(2.0)  # TR-BDF2 with one matrix for both stages
THETA = 0.5 * ALPHA
BDF_1 = 1.0 / (ALPHA * (2.0 - ALPHA))
BDF_0 = (1.0 - ALPHA) ** 2 / (ALPHA * (2.0 - ALPHA))
NO_OBSTACLE = -1e300
ROUNDING = 1e-13  # payoffs summed up along different meshes differ by less
# First derivative at the first of six equally spaced nodes.
FORWARD_SLOPE = (-137.0 / 60.0, 5.0, -5.0, 10.0 / 3.0, -1.25, 0.2)


@kernel
def _passage(distance, drift, time):
    """Chance that Brownian motion with this drift falls by `distance` within `time`."""
    if distance <= 0.0:
        return 1.0
    root = np.sqrt(time)
    direct = normal_cdf((-distance - drift * time) / root)
    reflected = normal_cdf((-distance + drift * time) / root)
    if reflected > 0.0:
        reflected *= exp(min(-2.0 * drift * distance, 700.0))
    return min(direct + reflected, 1.0)


@kernel
def _perpetual_boundary(a, b):
    """ln of the exercise boundary of the perpetual put per unit of strike; a > 0."""
    mu = a - b - 0.5
    root = np.sqrt(mu * mu + 2.0 * a)
    # The negative root of m^2/2 + mu m - a, in the form without cancellation.
    m = -mu - root if mu > 0.0 else -2.0 * a / (root - mu)
    return log(m / (m - 1.0))


@kernel
def _domain(american, a, b, low, high, time, slack):
    """Bounds of x such that what lies beyond moves no price in [low, high] by more than `slack`.

    The value imposed at an edge is wrong by at most the chance of coming back from there to the
    strike, and counts with the chance of getting there.
    """
    mu = a - b - 0.5
    unit = min(np.sqrt(time), 1.0) / 16.0
    right = unit
    start = max(high, 0.0)
    while _passage(right, mu, time) * _passage(right - start, -mu, time) > slack:
        right += unit
        unit *= 1.05
    unit = min(np.sqrt(time), 1.0) / 16.0
    left = -unit
    start = min(low, 0.0)
    exercise = 1.0 - exp(-a * time) if american and a > 0.0 else 0.0
    floor = _perpetual_boundary(a, b) if american and a > 0.0 else -1e300
    while left > floor and (
        max(_passage(-left, -mu, time), exercise) * _passage(start - left, mu, time) > slack
    ):
        left -= unit
        unit *= 1.05
    return max(left, floor), right, left <= floor


@kernel
def prepare(theta, american, sigma, r, q, low, high, offsets, expiries, truncation):
    """Turn families into put problems: coefficients, mesh and time nodes at level 0.

    Parameters
    ----------
    theta, american, sigma, r, q, low, high
        shape (F,): +1 call or -1 put, 1 American, market, bounds of spot/strike.
    offsets, expiries
        shapes (F + 1,) and (E,): each family's positive expiries, increasing.
    truncation
        what truncating the domain may cost, per unit of strike.

    Returns
    -------
    problem
        shape (F, 8): a, b, left edge, mesh width, low, high of x, exercised at the left edge, cap
        on time.
    left_nodes
        shape (F,): mesh intervals at level 0 left of the strike.
    node_offsets, nodes
        shapes (F + 1,) and (N,): square roots of the time nodes.
    slice_nodes
        shape (E,): which of its family's nodes each expiry is.
    """
    count = len(sigma)
    problem = np.empty((count, 8))
    left_nodes = np.empty(count, np.int64)
    node_offsets = np.zeros(count + 1, np.int64)
    nodes = np.empty(32 * count + 16 * len(expiries))
    slice_nodes = np.empty(len(expiries), np.int64)
    filled = 0
    for f in range(count):
        variance = sigma[f] * sigma[f]
        a, b = r[f] / variance, q[f] / variance
        x_low, x_high = log(low[f]), log(high[f])
        if theta[f] > 0:
            a, b = b, a
            x_low, x_high = -x_high, -x_low
        first, last = offsets[f], offsets[f + 1]
        time = variance * expiries[last - 1]
        # A call is worth its spot times u: the same slack per unit of strike is less of u.
        slack = truncation * min(exp(x_low), 1.0) if theta[f] > 0 else truncation
        left, right, exercised = _domain(american[f] != 0, a, b, x_low, x_high, time, slack)
        cap = time
        if exercised:
            # The value nears the perpetual one at least as fast as exp(-(a + mu^2/2) t).
            mu = a - b - 0.5
            cap = (20.0 - log(slack) + abs(mu) * (right - left)) / (a + 0.5 * mu * mu)
            if cap < time:
                left, right, exercised = _domain(True, a, b, x_low, x_high, cap, slack)
        cap = min(cap, time)
        h = (right - left) / (BASE_NODES - 1)
        left_nodes[f] = int(np.ceil(-left / h))
        problem[f, 0] = a
        problem[f, 1] = b
        problem[f, 2] = -left_nodes[f] * h
        problem[f, 3] = h
        problem[f, 4] = x_low
        problem[f, 5] = x_high
        problem[f, 6] = 1.0 if exercised else 0.0
        problem[f, 7] = cap

        widest = np.sqrt(cap) / BASE_STEPS
        start = 0.0
        begin = filled
        nodes[filled] = 0.0
        filled += 1
        for e in range(first, last):
            stop = np.sqrt(min(variance * expiries[e], cap))
            if stop > start:
                # Equal steps up to the first expiry, then as wide as START_STEPS in it allows.
                steps = 0
                reach = start
                while reach < stop * (1.0 - 1e-9):
                    reach += min(widest, max(reach, stop if start == 0.0 else start) / START_STEPS)
                    steps += 1
                if filled + steps >= len(nodes):
                    longer = np.empty(2 * len(nodes) + steps)
                    longer[:filled] = nodes[:filled]
                    nodes = longer
                scale = (stop - start) / (reach - start)
                reach = start
                for k in range(steps):
                    reach += min(widest, max(reach, stop if start == 0.0 else start) / START_STEPS)
                    nodes[filled + k] = start + (reach - start) * scale
                filled += steps
                nodes[filled - 1] = stop
                start = stop
            slice_nodes[e] = filled - 1 - begin
        node_offsets[f + 1] = filled
    return problem, left_nodes, node_offsets, nodes[:filled], slice_nodes


@kernel
def _edge(a, b, x, payoff, exercised, time):
    """Value at the left edge and its derivatives in a and b: the forward, or exercise."""
    cash, asset = exp(-a * time), exp(x - b * time)
    if exercised or payoff >= cash - asset:
        return payoff, 0.0, 0.0
    return cash - asset, -time * cash, time * asset


@kernel
def _eliminate(
    top, bottom, lower, diagonal, upper, trapezoidal, first, highest, u, other, obstacle,
    pivots, rhs, state,
):
    """Eliminate rows top to bottom, downwards, of one stage's system; `state` carries over.

    The right-hand side is u + k theta L u of the old solution (where it is not exercised: there
    u_t is 0), or the difference formula of the old solution `other` and the half-way one `u`.
    """
    one = broadcast(1.0)
    newer, older = broadcast(BDF_1), broadcast(BDF_0)
    explicit = broadcast(2.0) - diagonal
    coupling = lower * upper
    carry, pivot = load(state, 0), load(state, 1)
    for i in range(top, bottom - 1, -1):
        if trapezoidal:
            side = lower * load(u, i - 1) + explicit * load(u, i) + upper * load(u, i + 1)
            if i <= highest:
                side = choose(broadcast(i + 0.5), first, side, load(obstacle, i))
        else:
            side = newer * load(u, i) - older * load(other, i)
        carry = side + upper * (pivot * carry)
        pivot = one / (diagonal - coupling * pivot)
        store(rhs, i, carry)
        store(pivots, i, pivot)
    store(state, 0, carry)
    store(state, 1, pivot)


@kernel
def _first_node(i, j, lower, a, b, h, obstacle, pivots, rhs):
    """Solve row i of lane j as the first above the exercise boundary.

    At the boundary u_xx jumps by c = 2 (a - b exp(x)), and from it the time value grows as
    w(z) = c/2 z^2 + d z^3 (`_cube`). So the neighbour below counts in this row's equation not with
    its payoff but with the value that continues w, at z = s - h, where s is the way from the
    boundary to this node; w(s) then solves a scalar equation, by Newton's method.

    Returns w(s), not positive where this node is exercised too, s, c and d.
    """
    payoff, below = obstacle[i, j], obstacle[i - 1, j]
    asset = 1.0 - payoff
    c = 2.0 * (a - b * asset)
    pivot = pivots[i, j]
    plain = pivot * (rhs[i, j] + lower * below) - payoff
    if c <= 0.0:
        return plain, h, 0.0, 0.0
    pull = lower * pivot
    d = _cube(c, a, b, asset)
    if plain + pull * (0.5 * c - d * h) * h * h <= 0.0:
        return -1.0, h, c, d
    # The root of the parabola alone starts the iteration.
    right = max(plain + pull * 0.5 * c * h * h, 0.0)
    linear = pull * h * np.sqrt(2.0 * c)
    root = 2.0 * right / (linear + np.sqrt(linear * linear + 4.0 * (1.0 - pull) * right))
    s = root * np.sqrt(2.0 / c)
    for _ in range(NEWTON_STEPS):
        c = 2.0 * (a - b * asset * (1.0 - s))
        d = _cube(c, a, b, asset)
        far = h - s
        miss = (0.5 * c + d * s) * s * s - plain - pull * (0.5 * c - d * far) * far * far
        slope = (c + 3.0 * d * s) * s + pull * (c - 3.0 * d * far) * far
        s = min(max(s - miss / slope, 0.0), h) if slope > 0.0 else h
    value = (0.5 * c + d * s) * s * s
    if s >= h or not value > 0.0:
        return plain, h, c, d
    return value, s, c, d


@kernel
def _cube(c, a, b, asset):
    """A sixth of the third derivative of the time value at a boundary at rest, exp(x) = asset.

    From the derivative in x of the differential equation.
    """
    return -(c * (a - b - 0.5) + b * asset) / 3.0


@kernel
def _stage(
    lower, diagonal, upper, trapezoidal, before, u, other, obstacle, pivots, rhs, lane, first, way,
    state, out,
):
    """Solve one stage with its complementarity condition, exactly for one exercise boundary.

    Elimination from the right reaches below the boundary, whose node is then found lane by lane;
    from there the solution runs to the right. Rows below are exercised and never touched. `before`
    holds each lane's first unexercised row of `u` (as a double), `first` that of the stage before
    and, on return, of `out`; `way` holds s, c and d of `_first_node`.
    """
    last = u.shape[0] - 1
    highest = int(before.max())
    state[:] = 0.0
    bottom = max(int(first.min()) - 4, 1)
    _eliminate(
        last - 1, bottom, lower, diagonal, upper, trapezoidal, load(before, 0), highest, u, other,
        obstacle, pivots, rhs, state,
    )
    j = 0
    while j < WIDTH:
        i = int(first[0, j])
        a, b, h, l = lane[1, j], lane[2, j], lane[0, j], lane[11, j]
        if lane[4, j] > obstacle[0, j]:
            first[0, j] = 0.0
            way[0, j], way[1, j], way[2, j] = h, 0.0, 0.0
            lane[10, j] = lane[4, j]
            j += 1
            if bottom > 1:
                _eliminate(
                    bottom - 1, 1, lower, diagonal, upper, trapezoidal, load(before, 0), highest,
                    u, other, obstacle, pivots, rhs, state,
                )
                bottom = 1
            continue
        i = max(i, bottom)
        gap, s, c, d = _first_node(i, j, l, a, b, h, obstacle, pivots, rhs)
        while gap <= 0.0 and i < last - 1:
            i += 1
            gap, s, c, d = _first_node(i, j, l, a, b, h, obstacle, pivots, rhs)
        while i > bottom:
            node = _first_node(i - 1, j, l, a, b, h, obstacle, pivots, rhs)
            if node[0] <= 0.0:
                break
            i -= 1
            gap, s, c, d = node
        first[0, j] = i
        if i == bottom and bottom > 1:
            lower_bottom = max(bottom - 8, 1)
            _eliminate(
                bottom - 1, lower_bottom, lower, diagonal, upper, trapezoidal, load(before, 0),
                highest, u, other, obstacle, pivots, rhs, state,
            )
            bottom = lower_bottom
            continue
        way[0, j], way[1, j], way[2, j] = s, c, d
        lane[10, j] = obstacle[i, j] + max(gap, 0.0)
        j += 1
    bottom = min(bottom, int(first.min()))
    starts, roots = load(first, 0), load(lane, 10)
    value = roots
    highest = int(first.max())
    for i in range(max(bottom, 0), highest + 1):
        inside = value
        if i > 0:
            inside = (load(rhs, i) + lower * value) * load(pivots, i)
        here = broadcast(float(i))
        value = choose(here, starts, inside, choose(starts, here, load(obstacle, i), roots))
        store(out, i, value)
    for i in range(highest + 1, last):
        value = (load(rhs, i) + lower * value) * load(pivots, i)
        store(out, i, value)


@kernel
def _set_ghosts(first, way, lane, obstacle, u, w_a, w_b, greeks):
    """Put the continued parabola, and its derivatives, in the row below each lane's boundary."""
    for j in range(WIDTH):
        i = int(first[0, j])
        if i > 0:
            h, s = lane[0, j], way[0, j]
            asset = 1.0 - obstacle[i - 1, j]
            far = h - s
            u[i - 1, j] = obstacle[i - 1, j] + (0.5 * way[1, j] - way[2, j] * far) * far * far
            if greeks:
                w_a[i - 1, j] = (h - s) * (h - w_a[i, j] / s)
                w_b[i - 1, j] = (h - s) * (-h * asset - w_b[i, j] / s)


@kernel
def _clear_ghosts(first, obstacle, u, w_a, w_b, greeks):
    for j in range(WIDTH):
        i = int(first[0, j])
        if i > 0:
            u[i - 1, j] = obstacle[i - 1, j]
            if greeks:
                w_a[i - 1, j] = 0.0
                w_b[i - 1, j] = 0.0


@kernel
def _tangent_stage(
    lower, diagonal, upper, weight, slope, trapezoidal, before, first, way, lane, obstacle, pivots,
    rhs_a, rhs_b, u, u_new, w_a, w_b, other_a, other_b, edge_a, edge_b, out_a, out_b,
):
    """Solve the derivatives in a and b of a stage, with its factors; 0 where it is exercised.

    The sources are dL/da u = u_x - u and dL/db u = -u_x, of the new solution `u_new` and, in the
    trapezoidal stage, of the old one; ghosts are set in both.
    """
    last = u.shape[0] - 1
    newer, older = broadcast(BDF_1), broadcast(BDF_0)
    explicit = broadcast(2.0) - diagonal
    zero = broadcast(0.0)
    carry_a, carry_b, pivot = zero, zero, zero
    bottom = max(int(first.min()), 1)
    old_first = load(before, 0)
    highest = int(before.max())
    for i in range(last - 1, bottom - 1, -1):
        change = slope * (load(u_new, i + 1) - load(u_new, i - 1))
        side_a = change - weight * load(u_new, i)
        side_b = zero - change
        if trapezoidal:
            change = slope * (load(u, i + 1) - load(u, i - 1))
            old_a = (
                lower * load(w_a, i - 1) + explicit * load(w_a, i) + upper * load(w_a, i + 1)
                + (change - weight * load(u, i))
            )
            old_b = (
                lower * load(w_b, i - 1) + explicit * load(w_b, i) + upper * load(w_b, i + 1)
                - change
            )
            if i <= highest:
                here = broadcast(i + 0.5)
                old_a = choose(here, old_first, old_a, zero)
                old_b = choose(here, old_first, old_b, zero)
        else:
            old_a = newer * load(w_a, i) - older * load(other_a, i)
            old_b = newer * load(w_b, i) - older * load(other_b, i)
        carry_a = old_a + side_a + upper * (pivot * carry_a)
        carry_b = old_b + side_b + upper * (pivot * carry_b)
        pivot = load(pivots, i)
        store(rhs_a, i, carry_a)
        store(rhs_b, i, carry_b)
    for j in range(WIDTH):
        i = int(first[0, j])
        if i > 0:
            h, s, l = lane[0, j], way[0, j], lane[11, j]
            extra = l * h * (h - s)
            factor = s / (s + l * pivots[i, j] * (h - s))
            rhs_a[i, j] = (rhs_a[i, j] + extra) * factor
            rhs_b[i, j] = (rhs_b[i, j] - extra * (1.0 - obstacle[i - 1, j])) * factor
    starts = load(first, 0)
    highest = int(first.max())
    value_a, value_b = edge_a, edge_b
    store(out_a, 0, edge_a)
    store(out_b, 0, edge_b)
    for i in range(bottom, last):
        pivot = load(pivots, i)
        value_a = (load(rhs_a, i) + lower * value_a) * pivot
        value_b = (load(rhs_b, i) + lower * value_b) * pivot
        if i <= highest:
            here = broadcast(i + 0.5)
            value_a = choose(here, starts, value_a, zero)
            value_b = choose(here, starts, value_b, zero)
        store(out_a, i, value_a)
        store(out_b, i, value_b)


@kernel
def march(
    level,
    greeks,
    families,
    american,
    problem,
    left_nodes,
    node_offsets,
    nodes,
    slice_offsets,
    slice_nodes,
    out_offsets,
    out,
):
    """Solve `families` (indices into the arrays of `prepare`) on the meshes of one level.

    Writes u, and with `greeks` its derivatives in a and b, at each family's expiries to `out`, of
    shape (slices, nodes, 1 or 3); family families[i] starts at slice out_offsets[i].
    """
    intervals = BASE_NODES << level
    splits = 1 << level
    size = intervals + 1
    shape = (size, WIDTH)
    obstacle, pivots, rhs = np.empty(shape), np.empty(shape), np.empty(shape)
    u, u_half = np.empty(shape), np.empty(shape)
    tangent_shape = shape if greeks else (1, WIDTH)
    w_a, w_b = np.empty(tangent_shape), np.empty(tangent_shape)
    half_a, half_b = np.empty(tangent_shape), np.empty(tangent_shape)
    rhs_a, rhs_b = np.empty(tangent_shape), np.empty(tangent_shape)
    # Per lane: 0 h, 1 a, 2 b, 3 step weight, 4 edge of this stage and 5, 6 its derivatives,
    # 7 to 9 those of the next stage, 10 value at the first node, 11 lower coefficient.
    lane = np.empty((12, WIDTH))
    first, half_first = np.empty((1, WIDTH)), np.empty((1, WIDTH))
    way, half_way = np.empty((3, WIDTH)), np.empty((3, WIDTH))
    state = np.empty((2, WIDTH))
    recorded = np.empty(WIDTH, np.int64)

    for group in range(0, len(families), WIDTH):
        live = min(WIDTH, len(families) - group)
        longest = 0
        for j in range(WIDTH):
            f = families[group + min(j, live - 1)]
            h = problem[f, 3] / splits
            lane[0, j] = h
            lane[1, j] = problem[f, 0]
            lane[2, j] = problem[f, 1]
            recorded[j] = slice_offsets[f]
            longest = max(longest, node_offsets[f + 1] - node_offsets[f] - 1)
            kink = left_nodes[f] * splits
            asset, down = 1.0, exp(-h)
            for i in range(kink, size):
                u[i, j] = 0.0
                obstacle[i, j] = 0.0
            u[kink, j] = 0.5 - (1.0 - exp(-0.5 * h)) / h
            for i in range(kink - 1, -1, -1):
                asset *= down
                u[i, j] = 1.0 - asset
                obstacle[i, j] = 1.0 - asset
            first[0, j] = kink
            way[0, j], way[1, j], way[2, j] = h, 0.0, 0.0
            if american[f] == 0:
                obstacle[:, j] = NO_OBSTACLE
                first[0, j] = 0.0
        u_half[:] = u
        half_first[:] = first
        if greeks:
            w_a[:] = 0.0
            w_b[:] = 0.0
            half_a[:] = 0.0
            half_b[:] = 0.0
        h, a, b = load(lane, 0), load(lane, 1), load(lane, 2)
        half = broadcast(0.5)
        diffusion = half / (h * h)
        advection = half * (a - b - half) / h
        double = broadcast(2.0)

        for step in range(longest * splits):
            piece, part = step // splits, step % splits
            for j in range(WIDTH):
                f = families[group + min(j, live - 1)]
                start_node = node_offsets[f]
                at = min(piece, node_offsets[f + 1] - start_node - 2)
                start, stop = nodes[start_node + at], nodes[start_node + at + 1]
                before = start + (stop - start) * part / splits
                after = start + (stop - start) * (part + 1) / splits
                k = after * after - before * before
                a_j, b_j, x = lane[1, j], lane[2, j], problem[f, 2]
                lane[3, j] = THETA * k
                done, payoff = problem[f, 6] != 0.0, obstacle[0, j]
                edge = _edge(a_j, b_j, x, payoff, done, before * before + ALPHA * k)
                lane[4, j], lane[5, j], lane[6, j] = edge
                edge = _edge(a_j, b_j, x, payoff, done, after * after)
                lane[7, j], lane[8, j], lane[9, j] = edge
            weight = load(lane, 3)
            lower = weight * (diffusion - advection)
            upper = weight * (diffusion + advection)
            slope = weight * half / h
            diagonal = broadcast(1.0) + weight * (double * diffusion + a)
            store(lane, 11, lower)

            _set_ghosts(first, way, lane, obstacle, u, w_a, w_b, greeks)
            _stage(
                lower, diagonal, upper, True, first, u, u, obstacle, pivots, rhs, lane,
                half_first, half_way, state, u_half,
            )
            if greeks:
                _set_ghosts(half_first, half_way, lane, obstacle, u_half, half_a, half_b, False)
                _tangent_stage(
                    lower, diagonal, upper, weight, slope, True, first, half_first, half_way,
                    lane, obstacle, pivots, rhs_a, rhs_b, u, u_half, w_a, w_b, w_a, w_b,
                    load(lane, 5), load(lane, 6), half_a, half_b,
                )
                _clear_ghosts(half_first, obstacle, u_half, half_a, half_b, False)
            _clear_ghosts(first, obstacle, u, w_a, w_b, greeks)
            store(lane, 4, load(lane, 7))
            first[:] = half_first
            _stage(
                lower, diagonal, upper, False, half_first, u_half, u, obstacle, pivots, rhs, lane,
                first, way, state, u,
            )
            if greeks:
                _set_ghosts(first, way, lane, obstacle, u, w_a, w_b, False)
                _tangent_stage(
                    lower, diagonal, upper, weight, slope, False, half_first, first, way,
                    lane, obstacle, pivots, rhs_a, rhs_b, u_half, u, half_a, half_b, w_a, w_b,
                    load(lane, 8), load(lane, 9), w_a, w_b,
                )
                _clear_ghosts(first, obstacle, u, w_a, w_b, False)
            half_first[:] = first

            if part == splits - 1:
                for j in range(live):
                    f = families[group + j]
                    while (
                        recorded[j] < slice_offsets[f + 1]
                        and slice_nodes[recorded[j]] == piece + 1
                    ):
                        row = out_offsets[group + j] + recorded[j] - slice_offsets[f]
                        out[row, :, 0] = u[:, j]
                        if greeks:
                            out[row, :, 1] = w_a[:, j]
                            out[row, :, 2] = w_b[:, j]
                        recorded[j] += 1


@kernel
def _locate_boundary(surface, start, left, h, a, b, crossing):
    """Find the exercise boundary below node `start` from value and slope there.

    The time value grows from the boundary as c/2 z^2 + d z^3, c = 2 (a - b exp(x)) at it.
    """
    x = left + start * h
    gap = surface[start, 0] - max(1.0 - exp(x), 0.0)
    slope = exp(x)
    for k in range(STENCIL):
        slope += FORWARD_SLOPE[k] * surface[start + k, 0] / h
    way = h
    for _ in range(2):
        curvature = 2.0 * (a - b * exp(x - way))
        if curvature > 0.0 and gap > 0.0 and slope > 0.0:
            way = 6.0 * gap / (slope + np.sqrt(slope * slope + 6.0 * curvature * gap))
        way = min(way, h)
    crossing[0] = x - way
    crossing[1] = start
    crossing[2] = max(0.5 * curvature * way * way, 0.0)


@kernel
def extrapolate(
    level, theta, american, problem, left_nodes, row_offsets, coarse, medium, fine, values, crossing
):
    """Combine three levels into one solution, its error and its exercise boundary.

    Parameters
    ----------
    level
        of `fine`.
    theta, american, problem, left_nodes
        of F families, as in `prepare`; row_offsets, shape (F + 1,), delimits their slices.
    coarse, medium, fine
        shapes (slices, nodes, 1 or 3), from `march` on three levels running.
    values
        shape (slices, medium nodes, 2 or 4), written: u, its error, and its derivatives.
    crossing
        shape (slices, 3), written: the exercise boundary, the first node above it, and the part
        of the time value there that is quadratic in the way from the boundary.

    Returns
    -------
    shape (F,): each family's largest error inside its bounds, per unit of strike; infinite where
    the coarsest mesh is too coarse for the drift.
    """
    size = medium.shape[1]
    worst = np.zeros(len(theta))
    raw = np.empty(size)
    for f in range(len(theta)):
        h = problem[f, 3] / (1 << (level - 1))
        left = problem[f, 2]
        a, b = problem[f, 0], problem[f, 1]
        free = american[f] != 0
        kink = left_nodes[f] << (level - 1)
        if abs(a - b - 0.5) * 2.0 * h > PECLET:
            worst[f] = np.inf
        first = max(int((problem[f, 4] - left) / h) - 1, 0)
        final = min(int((problem[f, 5] - left) / h) + 2, size - 1)
        down = exp(-h)
        for row in range(row_offsets[f], row_offsets[f + 1]):
            for i in range(size):
                m, n = medium[row, i, 0], fine[row, 2 * i, 0]
                values[row, i, 0] = n + (n - m) / 3.0
                for k in range(1, fine.shape[2]):
                    m, n = medium[row, i, k], fine[row, 2 * i, k]
                    values[row, i, k + 1] = n + (n - m) / 3.0
            start = 0
            crossing[row, 0] = -1e300
            crossing[row, 1] = 0.0
            crossing[row, 2] = 0.0
            if free:
                up = 1.0
                for i in range(kink - 1, -1, -1):
                    up *= down
                    if fine[row, 2 * i, 0] <= 1.0 - up + ROUNDING:
                        start = i + 1
                        break
                    if medium[row, i, 0] <= 1.0 - up + ROUNDING:
                        # Not in the asymptotic range: the medium mesh exercises here.
                        values[row, i, 0] = fine[row, 2 * i, 0]
                if start > 0:
                    _locate_boundary(values[row], start, left, h, a, b, crossing[row])
            # Where the coarser pair has no node, its value there is interpolated.
            for i in range(0, size, 2):
                m, n = coarse[row, i // 2, 0], medium[row, i, 0]
                raw[i] = n + (n - m) / 3.0
            for i in range(1, size, 2):
                if start + 5 <= i <= size - 6:
                    raw[i] = (
                        150.0 * (raw[i - 1] + raw[i + 1])
                        - 25.0 * (raw[i - 3] + raw[i + 3])
                        + 3.0 * (raw[i - 5] + raw[i + 5])
                    ) / 256.0
                else:
                    raw[i] = values[row, i, 0]
            for i in range(size):
                raw[i] = abs(values[row, i, 0] - raw[i])
            reach = size // NEARBY
            for i in range(size):
                largest = 0.0
                for k in range(max(i - reach, 0), min(i + reach + 1, size)):
                    largest = max(largest, raw[k])
                values[row, i, 1] = SAFETY * largest
            for i in range(first, final + 1):
                scale = exp(-(left + i * h)) if theta[f] > 0 else 1.0
                worst[f] = max(worst[f], scale * values[row, i, 1])
    return worst


@kernel
def _interpolate(values, start, t, fields, row):
    """Interpolate at start + t by the polynomial through STENCIL nodes, in Newton's form.

    Writes value, first and second derivative of field 0 (per node spacing), then the values of
    fields 1 to 3 that there are, to `row`. Returns the larger error of the two nodes beside it.
    """
    c, d, e = 1.0, 0.0, 0.0
    difference = np.empty((STENCIL, 3))
    for k in range(STENCIL):
        difference[k, 0] = values[start + k, 0]
        for m in range(2, fields):
            difference[k, m - 1] = values[start + k, m]
    row[0], row[1], row[2], row[3], row[4] = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(STENCIL):
        row[0] += c * difference[0, 0]
        row[1] += d * difference[0, 0]
        row[2] += e * difference[0, 0]
        for m in range(2, fields):
            row[m + 1] += c * difference[0, m - 1]
        for i in range(STENCIL - 1 - k):
            for m in range(fields - 1):
                difference[i, m] = difference[i + 1, m] - difference[i, m]
        # Derivatives of the binomial coefficient (t over k + 1), from those of (t over k).
        e = (e * (t - k) + 2.0 * d) / (k + 1)
        d = (d * (t - k) + c) / (k + 1)
        c = c * (t - k) / (k + 1)
    near = start + min(max(int(t), 0), STENCIL - 2)
    return max(values[near, 1], values[near + 1, 1])


@kernel
def evaluate(
    theta,
    american,
    sigma,
    r,
    q,
    problem,
    expiry_offsets,
    expiries,
    sizes,
    fields,
    slice_starts,
    values,
    crossing,
    cell_offsets,
    S,
    K,
    T,
    out,
):
    """Read prices, greeks and errors of cells off the solved surfaces.

    Parameters
    ----------
    theta, american, sigma, r, q, problem
        of F families; problem as in `Surfaces`: a, b, left edge, node spacing, exercised at it.
    expiry_offsets, expiries
        shapes (F + 1,) and (E,).
    sizes, slice_starts, values, crossing
        nodes per slice, shape (F,); where slice e starts in `values`, shape (E,), whose fields
        are contiguous per node; as written by `extrapolate`, shape (E, 3).
    cell_offsets, S, K, T
        shape (F + 1,) and (n,): cells by family, all positive, expiries among the family's.
    out
        shape (8, n), written in the order of black_scholes.ROWS.
    """
    row = np.empty(5)
    for f in range(len(theta)):
        a, b, left, h = problem[f, 0], problem[f, 1], problem[f, 2], problem[f, 3]
        mu = a - b - 0.5
        variance = sigma[f] * sigma[f]
        call = theta[f] > 0
        size = sizes[f]
        begin, end = expiry_offsets[f], expiry_offsets[f + 1]
        for i in range(cell_offsets[f], cell_offsets[f + 1]):
            unit, other = (S[i], K[i]) if call else (K[i], S[i])
            x = log(other / unit)
            time = variance * T[i]
            place = (x - left) / h
            e = begin + np.searchsorted(expiries[begin:end], T[i])
            boundary, start = crossing[e, 0], int(crossing[e, 1])
            payoff = 1.0 - other / unit
            surface = values[slice_starts[e] : slice_starts[e] + size * fields].reshape(size, fields)
            exercised = american[f] != 0 and (x <= boundary or (place < 0.0 and problem[f, 4] != 0.0))
            if not exercised and (place < 0.0 or place > size - 1):
                far = european(float(theta[f]), S[i], K[i], T[i], r[f], q[f], sigma[f])
                for j in range(8):
                    out[j, i] = far[j]
                if american[f] == 0 or far[0] >= payoff * unit:
                    continue
                exercised = True
            if exercised:
                out[0, i] = payoff * unit
                out[1, i] = theta[f]
                for j in range(2, 7):
                    out[j, i] = 0.0
                out[7, i] = 4.0 * EPSILON * (S[i] + K[i])
                if 0.0 <= place:
                    out[7, i] += unit * surface[int(place) + 1, 1]
                continue
            if place < start:
                # Between the exercise boundary and the first node above it.
                node = left + start * h
                way = node - boundary
                part = (x - boundary) / way
                square = crossing[e, 2]
                cube = surface[start, 0] - max(1.0 - exp(node), 0.0) - square
                row[0] = payoff + (square + cube * part) * part * part
                row[1] = -other / unit + (2.0 * square + 3.0 * cube * part) * part / way
                row[2] = -other / unit + (2.0 * square + 6.0 * cube * part) / (way * way)
                for m in range(2, fields):
                    row[m + 1] = surface[start, m] * part
                error = surface[start, 1]
            else:
                low = min(max(int(place) - STENCIL // 2 + 1, start), size - STENCIL)
                error = _interpolate(surface, low, place - low, fields, row)
                row[1] /= h
                row[2] /= h * h
                if american[f] != 0:
                    row[0] = max(row[0], payoff)
                row[0] = max(row[0], 0.0)
            u, u_x, u_xx = row[0], row[1], row[2]
            out[0, i] = unit * u
            out[7, i] = unit * (error + 4.0 * EPSILON)
            out[1, i] = u - u_x if call else u_x * K[i] / S[i]
            out[2, i] = (u_xx - u_x) / S[i] * (1.0 if call else K[i] / S[i])
            decay = -unit * variance * (0.5 * u_xx + mu * u_x - a * u)
            out[4, i] = decay
            if fields > 2:
                in_a, in_b = unit * row[3] / variance, unit * row[4] / variance
                rho, dividend_rho = (in_b, in_a) if call else (in_a, in_b)
                out[5, i] = rho
                out[6, i] = dividend_rho
                # V is unchanged when time is scaled by s and r, q, variance by 1/s.
                out[3, i] = -2.0 * (T[i] * decay + r[f] * rho + q[f] * dividend_rho) / sigma[f]


class Surfaces(NamedTuple):
    """The solved families: what `evaluate` reads, in its order, and the work it took."""

    problem: np.ndarray
    sizes: np.ndarray
    fields: int
    slice_starts: np.ndarray
    values: np.ndarray
    crossing: np.ndarray


def solve(theta, american, sigma, r, q, low, high, offsets, expiries, tolerance, greeks):
    """Solve F families, each refined until its error is below `tolerance` per unit of strike.

    Parameters
    ----------
    theta, american, sigma, r, q, low, high, offsets, expiries
        as in `prepare`; every family has an expiry.
    tolerance
        largest error inside the bounds of a family; meshes stop at `TOP_LEVEL` all the same.
    greeks
        whether vega, rho and dividend_rho will be asked.

    Returns
    -------
    Surfaces, whose `problem` has shape (F, 5): a, b, left edge, node spacing, exercised there.
    """
    problem, left_nodes, node_offsets, nodes, slice_nodes = prepare(
        theta, american, sigma, r, q, low, high, offsets, expiries, SLACK * min(tolerance, 1e-5)
    )
    channels = 3 if greeks else 1
    slices = np.diff(offsets)
    sizes = np.zeros(len(sigma), np.int64)
    slice_starts = np.zeros(len(expiries), np.int64)
    crossing = np.empty((len(expiries), 3))
    pieces: list[np.ndarray] = []
    filled = 0
    active = np.arange(len(sigma))
    levels: list[np.ndarray] = []
    for level in range(TOP_LEVEL + 1):
        row_offsets = np.concatenate(([0], np.cumsum(slices[active])))
        size = (BASE_NODES << level) + 1
        out = np.empty((row_offsets[-1], size, channels))
        march(
            level, greeks, active, american, problem, left_nodes, node_offsets, nodes,
            offsets, slice_nodes, row_offsets, out,
        )
        levels.append(out)
        if len(levels) < 3:
            continue
        coarse, medium, fine = levels
        values = np.empty((*medium.shape[:2], channels + 1))
        crossed = np.empty((len(values), 3))
        worst = extrapolate(
            level, theta[active], american[active], problem[active], left_nodes[active],
            row_offsets, coarse, medium, fine, values, crossed,
        )
        done = (worst <= tolerance) | (level == TOP_LEVEL)
        rows = np.repeat(done, slices[active])
        ready = active[done]
        where = np.concatenate([np.arange(offsets[f], offsets[f + 1]) for f in ready] or [[]])
        where = where.astype(np.int64)
        crossing[where] = crossed[rows]
        slice_starts[where] = filled + np.arange(len(where)) * values[0].size
        sizes[ready] = medium.shape[1]
        pieces.append(values[rows].reshape(-1))
        filled += len(pieces[-1])
        problem[ready, 3] /= 1 << (level - 1)
        active = active[~done]
        if not len(active):
            break
        levels = [medium[~rows], fine[~rows]]
    return Surfaces(
        problem=np.ascontiguousarray(problem[:, [0, 1, 2, 3, 6]]),
        sizes=sizes,
        fields=channels + 1,
        slice_starts=slice_starts,
        values=np.concatenate(pieces) if pieces else np.empty(0),
        crossing=crossing,
    )


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int8 and int64."""
    one, sign, offsets = np.ones(1), np.ones(1, np.int8), np.array([0, 1])
    for greeks in (False, True):
        surfaces = solve(-sign, sign, one, one, one, one, one, offsets, one, 1.0, greeks)
        evaluate(
            -sign, sign, one, one, one, surfaces.problem, offsets, one, surfaces.sizes,
            surfaces.fields, surfaces.slice_starts, surfaces.values, surfaces.crossing,
            offsets, one, one, one, np.empty((8, 1)),
        )  # fmt: skip
