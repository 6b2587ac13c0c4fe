"""The complex error function, and sine and cosine, against mpmath."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import numpy as np

from pricer.compiled import kernels

kernels("knock")  # sets up numba before the module below imports it

from pricer.kernels.faddeeva import STEP, erfcx_complex, sine_cosine  # noqa: E402


def test_sine_and_cosine_are_within_a_rounding_of_one() -> None:
    halves = np.arange(-40.0, 41.0) / 4.0
    for x in [*np.random.default_rng(1).uniform(-1000.0, 1000.0, 2000).tolist(), *halves.tolist()]:
        with mpmath.workdps(30):
            exact = mpmath.sinpi(mpmath.mpf(x)), mpmath.cospi(mpmath.mpf(x))
            got = sine_cosine(x)
            assert max(abs(g - e) for g, e in zip(got, exact, strict=True)) <= 2e-16, x


def test_the_complex_erfcx_has_fourteen_digits() -> None:
    random = np.random.default_rng(2)
    points = [(a, k * STEP / 4.0) for a in (0.0, 1e-9, 0.5, 6.2) for k in range(60)]
    points += zip(
        (10.0 ** random.uniform(-9.0, 1.6, 500)).tolist(),
        (10.0 ** random.uniform(-4.0, 1.2, 500)).tolist(),
        strict=True,
    )
    for a, b in points:
        with mpmath.workdps(60):
            z = mpmath.mpc(a, -b)
            exact = mpmath.exp(z * z) * mpmath.erfc(z)
            error = abs(mpmath.mpc(*erfcx_complex(a, b)) - exact) / abs(exact)
        assert error <= 1e-14, (a, b, float(error))
