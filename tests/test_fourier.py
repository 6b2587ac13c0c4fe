"""European options of Heston's and Merton's models: others' values, other integrals, laws, limits.

The check is Lewis's integral (2000) along Im u = -1/2 by Gauss-Legendre panels in extended
precision, with characteristic functions as they are printed, and Merton's own series (1976).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

import pricer
from pricer import Curve, Digital, Heston, Market, Merton, Status, Vanilla
from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

kernels("fourier")  # sets up numba before the modules below import it

from pricer.kernels import complex_elementary, fourier  # noqa: E402
from pricer.kernels.black_scholes import ROWS, european  # noqa: E402

REFERENCE = Path(__file__).parent / "reference"
HESTON, MERTON = fourier.HESTON, fourier.MERTON
VANILLA, CASH, ASSET = fourier.VANILLA, fourier.CASH, fourier.ASSET


@dataclass(frozen=True)
class Option:
    """One option, in the order of `fourier.closed_form`."""

    model: int
    five: tuple[float, float, float, float, float]
    kind: int = VANILLA
    theta: int = 1
    spot: float = 100.0
    strike: float = 100.0
    expiry: float = 1.0
    rate: float = 0.03
    dividend_yield: float = 0.01

    @property
    def forward(self) -> float:
        return self.spot * math.exp((self.rate - self.dividend_yield) * self.expiry)


def rows(of: list[Option]) -> Floats:
    """Price options in one call: ROWS, shape (8, n)."""
    given: list[Any] = [
        np.array([getattr(o, f.name) for o in of])
        for f in fields(Option)
        if f.name not in ("model", "five", "kind", "theta")
    ]
    codes: list[Any] = [
        np.array([getattr(o, n) for o in of], np.int8) for n in ("model", "kind", "theta")
    ]
    out = np.empty((8, len(of)))
    five = np.ascontiguousarray(np.array([o.five for o in of], np.float64).T)
    columns: list[Any] = [*codes, *given, five, out]
    fourier.closed_form(*columns)
    return out


def priced(of: Option) -> dict[str, float]:
    return dict(zip(ROWS, rows([of])[:, 0].tolist(), strict=True))


LEWIS = Option(HESTON, (0.04, 4.0, 0.25, 1.0, -0.5))
EQUITY = Option(HESTON, (0.04, 1.5, 0.05, 0.5, -0.7))
JUMPY = Option(MERTON, (0.2, 0.7, -0.1, 0.2, 0.0))
OF_ONE_SIZE = Option(MERTON, (0.02, 40.0, 0.3, 0.0, 0.0))


# The other methods

NODES, WEIGHTS = (a.astype(np.longdouble) for a in np.polynomial.legendre.leggauss(20))


def heston_exponent(u: Any, T: Any, five: tuple[float, ...]) -> Any:
    """Albrecher, Mayer, Schoutens, Tistaert 2007, equation (17) without drift."""
    v0, kappa, vbar, xi, rho = (np.longdouble(p) for p in five)
    b = kappa - rho * xi * 1j * u
    d = np.sqrt(b * b + xi * xi * (1j * u + u * u))
    g = (b - d) / (b + d)
    gone = np.exp(-d * T)
    reversion = (b - d) * T - 2 * np.log((1 - g * gone) / (1 - g))
    return (kappa * vbar * reversion + v0 * (b - d) * (1 - gone) / (1 - g * gone)) / (xi * xi)


def merton_exponent(u: Any, T: Any, five: tuple[float, ...]) -> Any:
    sigma, intensity, mean, deviation, _ = (np.longdouble(p) for p in five)
    growth = np.exp(mean + deviation * deviation / 2) - 1
    jump = np.exp(1j * u * mean - deviation * deviation * u * u / 2) - 1
    return T * (intensity * (jump - 1j * u * growth) - sigma * sigma / 2 * (u * u + 1j * u))


def falls_below(of: Option, u: Any) -> bool:
    """Tell whether the integrand is negligible from u on."""
    five, T = of.five, np.longdouble(of.expiry)
    if of.model == HESTON:
        size = heston_exponent(np.array([u - 0.5j]), T, five).real[0]
    else:
        come_back = 1 - np.exp(-five[3] * five[3] * u * u / 2)
        size = -T * (five[0] * five[0] * u * u / 2 + five[1] * come_back)
    return bool(size - 2 * np.log(u) < -42.0)


def integral(of: Option) -> float:
    """Return the price of a vanilla option by Lewis's integral."""
    T = np.longdouble(of.expiry)
    end = np.longdouble(1.0)
    while not falls_below(of, end):
        end *= 1.3
    carry = (np.longdouble(of.rate) - np.longdouble(of.dividend_yield)) * T
    k = np.log(np.longdouble(of.strike) / np.longdouble(of.spot)) - carry
    longest = 4 / max(abs(k), 1e-6)
    edges, length = [np.longdouble(0.0)], np.longdouble(0.02)
    while edges[-1] < end:
        edges.append(edges[-1] + min(length, longest))
        length = max(length, 0.15 * edges[-1])
    half = np.diff(np.array(edges)) / 2
    u = (np.array(edges)[:-1, None] + half[:, None] * (1 + NODES)).ravel()
    weight = (half[:, None] * WEIGHTS).ravel()
    exponent = heston_exponent if of.model == HESTON else merton_exponent
    integrand = np.exp(exponent(u - 0.5j, T, of.five) - 1j * u * k).real / (u * u + 0.25)
    missing = np.exp(k / 2) / np.pi * (integrand * weight).sum()
    spot = of.spot * np.exp(-of.dividend_yield * T)
    strike = of.strike * np.exp(-of.rate * T)
    return float(spot * (1 - missing) - (0 if of.theta > 0 else spot - strike))


def poisson_series(of: Option) -> float:
    """Return the price of a vanilla option by Merton's series of Black-Scholes values, exactly."""
    with mpmath.workdps(30):
        sigma, intensity, mean, deviation, _ = (mpmath.mpf(p) for p in of.five)
        T, K = mpmath.mpf(of.expiry), mpmath.mpf(of.strike)
        power = mean + deviation**2 / 2
        expected = intensity * T
        forward = mpmath.mpf(of.spot) * mpmath.exp(
            (mpmath.mpf(of.rate) - of.dividend_yield) * T - expected * mpmath.expm1(power)
        )
        total = mpmath.mpf(0)
        most = expected * max(1, mpmath.exp(power))
        for n in range(int(most + 12 * mpmath.sqrt(most)) + 40):
            chance = mpmath.exp(-expected) * expected**n / mpmath.factorial(n)
            F = forward * mpmath.exp(n * power)
            width = mpmath.sqrt(sigma**2 * T + n * deviation**2)
            if width > 0:
                d = mpmath.log(F / K) / width + width / 2
                put = K * mpmath.ncdf(width - d) - F * mpmath.ncdf(-d)
            else:
                put = max(K - F, 0)
            total += chance * (put + (F - K if of.theta > 0 else 0))
        return float(mpmath.exp(-mpmath.mpf(of.rate) * T) * total)


# Others' values


def reference(file: str) -> list[dict[str, Any]]:
    data = json.loads((REFERENCE / f"{file}.json").read_text(encoding="utf-8"))
    return [case for case in data["cases"] if case["kind"] == "european"]


def market_of(case: dict[str, Any]) -> Market:
    if case["model"] == "heston":
        model: Any = Heston(*(case[n] for n in ("v0", "kappa", "theta", "sigma", "rho")))
        vol = np.nan
    else:
        model = Merton(case["jump_intensity"], case["mean_log_jump"], case["jump_vol"])
        vol = case["vol"]
    return Market(case["spot"], vol, case["rate"], case["dividend"], model=model)


@pytest.mark.parametrize("file", ["heston", "merton_jumps"])
def test_published_prices_are_met(file: str) -> None:
    cases = reference(file)
    assert len(cases) >= 7
    for case in cases:
        of = Vanilla(case["right"], case["strike"], case["expiry_years"])
        result = pricer.price(of, market_of(case))
        assert result.price is not None
        off = abs(result.price - case["verified_value"])
        assert off < 1e-10 * case["strike"], case["id"]
        assert off <= result.error + 4e-16 * case["spot"], case["id"]
        assert abs(result.price - case["expected"]) <= case["tolerance"] + 1e-10, case["id"]
        assert result.status == Status.ok


# Errors


def drawn(model: int, rng: np.random.Generator) -> Option:
    """Draw a wide variety of parameters."""

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    if model == HESTON:
        five = (
            between(1e-3, 0.5), between(0.05, 10.0), between(2e-3, 0.5), between(0.02, 2.5),
            float(rng.uniform(-0.99, 0.99)),
        )  # fmt: skip
    else:
        five = (
            between(0.03, 0.8), between(0.01, 50.0), float(rng.uniform(-0.4, 0.3)),
            between(5e-3, 0.5), 0.0,
        )  # fmt: skip
    option = Option(
        model,
        five,
        theta=1 if rng.random() < 0.5 else -1,
        expiry=between(0.01, 10.0),
        rate=float(rng.uniform(-0.02, 0.1)),
        dividend_yield=float(rng.uniform(-0.02, 0.1)),
    )
    deviation = math.sqrt(fourier._variance(model, option.expiry, five))
    return replace(option, strike=option.forward * math.exp(1.5 * deviation * rng.normal()))


@pytest.mark.parametrize("model", [HESTON, MERTON])
def test_errors_are_at_most_what_is_reported(model: int) -> None:
    rng = np.random.default_rng(20)
    drawings = [drawn(model, rng) for _ in range(300)]
    out = rows(drawings)
    for of, price, error in zip(drawings, out[0], out[7], strict=True):
        assert abs(price - integral(of)) <= error + 1e-14 * (of.spot + of.strike), of
    size = out[7] / np.array([max(of.spot, of.strike) for of in drawings])
    assert np.quantile(size, 0.9) < 2e-13


HARD = {
    "a day": replace(EQUITY, expiry=1.0 / 365.0, strike=101.0),
    "a minute": replace(EQUITY, expiry=2e-6, strike=100.01),
    "a century": replace(EQUITY, expiry=100.0, strike=300.0),
    "far from Feller's condition": Option(HESTON, (0.04, 0.5, 0.04, 1.0, -0.9), expiry=10.0),
    "farther": Option(HESTON, (0.01, 0.1, 0.01, 2.0, -0.9), expiry=1.0),
    "rho = -1": Option(HESTON, (0.04, 1.5, 0.04, 0.3, -1.0)),
    "rho = 1": Option(HESTON, (0.04, 1.5, 0.04, 0.3, 1.0), theta=-1),
    "v0 = 0": Option(HESTON, (0.0, 1.5, 0.04, 0.5, -0.7)),
    "long variance 0": Option(HESTON, (0.04, 1.5, 0.0, 0.5, -0.7)),
    "mean reversion 0": Option(HESTON, (0.04, 0.0, 0.04, 0.5, -0.7)),
    "no return of the variance": Option(HESTON, (0.04, 1e-9, 0.04, 0.5, -0.7)),
    "fast return": Option(HESTON, (0.04, 200.0, 0.09, 3.0, -0.7)),
    "a deep put": replace(EQUITY, theta=-1, strike=5.0),
    "a deep call": replace(EQUITY, strike=2000.0),
    "a far put in the money": replace(EQUITY, theta=-1, strike=1e5),
    "jumps of one size": OF_ONE_SIZE,
    "jumps of almost one size": replace(OF_ONE_SIZE, five=(0.02, 40.0, 0.3, 1e-3, 0.0)),
    "a thousand jumps": Option(MERTON, (0.2, 1000.0, -0.01, 0.01, 0.0)),
    "hardly a jump": Option(MERTON, (0.2, 1e-9, -0.1, 0.2, 0.0)),
    "a jump's call far away": replace(JUMPY, strike=1000.0),
    "jumps in a day": replace(JUMPY, expiry=1.0 / 365.0, theta=-1, strike=90.0),
    "jumps in a minute": replace(JUMPY, expiry=2e-6, strike=100.01),
    "jumps of a century": replace(JUMPY, expiry=100.0, strike=1000.0),
    "jumps and no vol": Option(MERTON, (0.0, 2.0, 0.1, 0.1, 0.0), strike=95.0),
    "rare jumps and no vol": Option(MERTON, (0.0, 0.01, -0.13, 0.2, 0.0), theta=-1, expiry=0.004),
    "a strike above all there can be": Option(
        HESTON, (0.0015, 0.17, 0.058, 1.0, -1.0), strike=105.0, expiry=0.17
    ),
    "jumps of one size and no vol": Option(MERTON, (0.0, 2.0, 0.1, 0.0, 0.0), strike=95.0),
}
# What the series cannot settle: its error says so.
UNSETTLED: dict[str, float] = {"farther": 2e-4}


@pytest.mark.parametrize("name", HARD)
def test_hard_cases_are_right_or_say_so(name: str) -> None:
    of = HARD[name]
    if name == "a strike above all there can be":
        # With rho = -1, ln(S_T / F) is at most (v0 + kappa theta T) / xi.
        expected = 0.0
    else:
        expected = integral(of) if of.model == HESTON else poisson_series(of)
    found = priced(of)
    unit = max(of.spot, of.strike)
    assert abs(found["price"] - expected) <= found["error"] + 1e-15 * unit
    assert found["error"] <= UNSETTLED.get(name, 1e-12) * unit


def test_a_digital_is_the_slope_of_vanillas() -> None:
    # Cash above K is minus the slope of the call by K; the asset above K is that and the call.
    for of in (LEWIS, EQUITY, JUMPY, HARD["rho = -1"], HARD["jumps and no vol"]):
        for theta in (1, -1):
            option = replace(of, theta=theta, strike=103.0)
            step = 0.02
            values = [
                priced(replace(option, strike=option.strike + j * step))["price"]
                for j in (-2, -1, 1, 2)
            ]
            slope = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * step)
            cash = priced(replace(option, kind=CASH))
            asset = priced(replace(option, kind=ASSET))
            value = priced(option)["price"]
            assert cash["price"] == pytest.approx(-theta * slope, abs=1e-8 + cash["error"])
            assert theta * (asset["price"] - option.strike * cash["price"]) == pytest.approx(
                value, abs=1e-10 + asset["error"] + option.strike * cash["error"]
            )


# Laws


MOVES: dict[str, Callable[[Option, float], Option]] = {
    "delta": lambda of, h: replace(of, spot=of.spot * (1.0 + h)),
    "rho": lambda of, h: replace(of, rate=of.rate + h),
    "dividend_rho": lambda of, h: replace(of, dividend_yield=of.dividend_yield + h),
    "theta": lambda of, h: replace(of, expiry=of.expiry - h),
    "vega": lambda of, h: replace(of, five=(moved(of, h), *of.five[1:])),
}


def moved(of: Option, h: float) -> float:
    """Return the first parameter, where the vol now is moved by h."""
    return of.five[0] + h if of.model == MERTON else (math.sqrt(of.five[0]) + h) ** 2


@pytest.mark.parametrize("theta", [1, -1])
@pytest.mark.parametrize("kind", [VANILLA, CASH, ASSET])
@pytest.mark.parametrize("of", [LEWIS, EQUITY, JUMPY, HARD["jumps in a minute"]])
def test_greeks_are_the_slopes_of_prices(of: Option, kind: int, theta: int) -> None:
    option = replace(of, kind=kind, theta=theta, strike=of.strike * 1.001)
    size = 1e-4 if option.expiry > 1e-3 else 2e-7
    found = priced(option)
    unit = 1.0 if kind == CASH else option.spot
    for name, move in MOVES.items():
        h = min(size, 1e-3 * option.expiry) if name == "theta" else size
        below, above = priced(move(option, -h)), priced(move(option, h))
        per = option.spot if name == "delta" else 1.0
        slope = (above["price"] - below["price"]) / (2.0 * h * per)
        scale = max(unit / per, abs(slope))
        assert found[name] == pytest.approx(slope, abs=2e-5 * scale), name
        if name == "delta":
            bend = (above["delta"] - below["delta"]) / (2.0 * h * per)
            assert found["gamma"] == pytest.approx(bend, abs=2e-5 * max(abs(bend), unit / per**2))


@pytest.mark.parametrize("kind", [VANILLA, CASH, ASSET])
@pytest.mark.parametrize("of", [LEWIS, EQUITY, JUMPY, OF_ONE_SIZE, HARD["jumps and no vol"]])
def test_calls_less_puts_are_forwards(of: Option, kind: int) -> None:
    option = replace(of, kind=kind, strike=97.0, rate=0.05)
    call, put = (priced(replace(option, theta=theta)) for theta in (1, -1))
    spot, cash = math.exp(-option.dividend_yield), math.exp(-option.rate)
    expected = {
        VANILLA: (100.0 * spot - 97.0 * cash, spot),
        CASH: (cash, 0.0),
        ASSET: (100.0 * spot, spot),
    }
    sign = -1.0 if kind == VANILLA else 1.0
    price, delta = expected[kind]
    assert call["price"] + sign * put["price"] == pytest.approx(price, abs=1e-12)
    assert call["delta"] + sign * put["delta"] == pytest.approx(delta, abs=1e-12)
    for name in ("gamma", "vega"):
        assert call[name] + sign * put[name] == pytest.approx(0.0, abs=1e-10 * (1 + abs(put[name])))


def test_the_bits_of_an_option_are_those_it_has_alone() -> None:
    strikes = [1.0, 60.0, 90.0, 100.0, 100.5, 130.0, 1e4, 99.0, 77.0, 300.0, 100.0]
    together = [
        replace(of, strike=strike, kind=kind, theta=theta)
        for of in (LEWIS, JUMPY, replace(LEWIS, expiry=0.5), HARD["jumps and no vol"])
        for kind in (VANILLA, CASH, ASSET)
        for theta in (1, -1)
        for strike in strikes
    ]
    alone = np.concatenate([rows([of]) for of in together], axis=1)
    assert np.array_equal(rows(together), alone)
    assert np.array_equal(rows(together[::-1])[:, ::-1], alone)


# Limits


@pytest.mark.parametrize("xi", [0.0, 1e-9, 1e-6])
def test_a_variance_that_does_not_move_gives_black_scholes(xi: float) -> None:
    for of in (LEWIS, EQUITY):
        v0, kappa, vbar, _, rho = of.five
        option = replace(of, five=(v0, kappa, vbar, xi, rho), strike=105.0)
        mean = vbar + (v0 - vbar) * -math.expm1(-kappa) / kappa
        expected = european(1.0, 100.0, 105.0, 1.0, 0.03, 0.01, math.sqrt(mean))
        found = priced(option)
        for name, value in zip(ROWS[:3], expected[:3], strict=True):
            # The first correction is of the order of rho xi.
            assert found[name] == pytest.approx(value, abs=20.0 * xi + 1e-11), name


@pytest.mark.parametrize("jumps", [(0.0, -0.1, 0.2), (3.0, 0.0, 0.0)])
def test_jumps_that_never_come_or_do_nothing_give_black_scholes(
    jumps: tuple[float, float, float],
) -> None:
    for expiry in (2e-6, 1.0):
        of = Option(MERTON, (0.2, *jumps, 0.0), strike=100.01, expiry=expiry)
        expected = european(1.0, 100.0, 100.01, expiry, 0.03, 0.01, 0.2)
        found = priced(of)
        for name, value in zip(ROWS[:7], expected[:7], strict=True):
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_options_where_nothing_is_random_are_worth_their_payoffs() -> None:
    still = (Option(HESTON, (0.0, 1.0, 0.0, 0.5, 0.3)), Option(MERTON, (0.0, 0.0, 0.1, 0.1, 0.0)))
    for of in still:
        for strike in (90.0, 110.0):
            found = priced(replace(of, strike=strike))
            expected = math.exp(-of.rate) * max(of.forward - strike, 0.0)
            assert found["price"] == pytest.approx(expected, abs=1e-12)


# In words


def test_theta_under_curves_is_that_of_the_first_rates() -> None:
    rate, dividend_yield = Curve([0.25, 1.0], [0.07, 0.02]), Curve([0.4, 2.0], [0.0, 0.03])
    model = Heston(*EQUITY.five)
    market = Market(100.0, rate=rate, dividend_yield=dividend_yield, model=model)
    now = pricer.price(Vanilla("put", 105.0, 1.0), market, measures=("price", "theta"))
    h = 1e-4
    later = Market(
        100.0,
        rate=Curve([0.25 - h, 1.0], [0.07, 0.02]),
        dividend_yield=Curve([0.4 - h, 2.0], [0.0, 0.03]),
        model=model,
    )
    then = pricer.price(Vanilla("put", 105.0, 1.0 - h), later).price
    assert now.price is not None
    assert then is not None
    slope = (then - now.price) / h
    assert now.theta == pytest.approx(slope, abs=2e-3)


def test_errors_above_the_tolerance_are_told() -> None:
    of = HARD["farther"]
    market = Market(100.0, rate=0.03, dividend_yield=0.01, model=Heston(*of.five))
    for tolerance, status in ((1e-3, Status.ok), (1e-9, Status.tolerance)):
        result = pricer.price(Vanilla("call", 100.0, 1.0), market, tolerance=tolerance)
        assert result.price is not None
        assert abs(result.price - integral(of)) <= result.error
        assert result.status == status


def test_digitals_pay_their_cash() -> None:
    market = Market(100.0, 0.2, 0.03, 0.01, model=Merton(*JUMPY.five[1:4]))
    found = pricer.price(Digital("call", 103.0, 1.0, cash=7.0), market)
    assert found.price == pytest.approx(
        7.0 * priced(replace(JUMPY, kind=CASH, strike=103.0))["price"]
    )


# Elementary functions of complex arguments

PLANE = np.random.default_rng(4)
POINTS = PLANE.normal(size=(400, 2)) * 10.0 ** PLANE.uniform(-9.0, 1.2, (400, 1))


@pytest.mark.parametrize(
    ("name", "exact", "epsilons"),
    [
        ("square_root", mpmath.sqrt, 2.0),
        ("exponential", mpmath.exp, 40.0),
        ("exponential_minus_one", mpmath.expm1, 40.0),
        ("logarithm_of_one_plus", lambda z: mpmath.log(1 + z), 4.0),
    ],
)
def test_complex_functions_are_near_mpmath(
    name: str, exact: Callable[[Any], Any], epsilons: float
) -> None:
    function = getattr(complex_elementary, name)
    with mpmath.workdps(40):
        for x, y in POINTS.tolist():
            z = complex(x, y)
            value = exact(mpmath.mpc(z))
            assert abs(function(z) - value) <= epsilons * 2.3e-16 * abs(value), z


def test_angles_are_near_mpmath() -> None:
    for x, y in [*POINTS.tolist(), (0.0, 0.0), (-1.0, 0.0), (0.0, -2.0), (1.0, 1.0)]:
        assert abs(complex_elementary.angle(x, y) - mpmath.atan2(y, x)) <= 5e-16
