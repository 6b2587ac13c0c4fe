"""How to price, whatever is priced."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from .contracts import suggest
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MEASURES = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")
# What a simulation knows beside them; of any other method the first seven are 0.
STATISTICS = ("standard_error", *(f"{name}_standard_error" for name in MEASURES[1:]))
BOUNDS = ("low", "high")
EVERY_MEASURE = (*MEASURES, *STATISTICS, *BOUNDS)
METHODS = ("auto", "analytic", "finite_difference", "monte_carlo")
SAMPLINGS = ("sobol", "pseudo")
DEFAULT_TOLERANCE = 1e-5
DEFAULT_PATHS = 2**20
LEAST_PATHS, MOST_PATHS = 2**12, 2**32


@dataclass(frozen=True, slots=True)
class Settings:
    """How to price, whatever is priced.

    Attributes
    ----------
    method
        ``auto``, or the one to insist on.
    tolerance
        The largest `error` allowed per unit of strike.
    measures
        What is computed of each cell, in the order of `EVERY_MEASURE`; empty where `usual` is to
        decide.
    seed
        Of the random numbers of a simulation.
    sampling
        ``sobol``, scrambled points 32 times over, or ``pseudo``, independent random numbers.
    paths
        How many a simulation may take in search of the tolerance.

    Raises
    ------
    SpecError
        For what no run can have; names the setting, the rule and the value got.
    """

    method: str = "auto"
    tolerance: float = DEFAULT_TOLERANCE
    measures: tuple[str, ...] = ()
    seed: int = 0
    sampling: str = "sobol"
    paths: int = DEFAULT_PATHS

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name != "measures" or value != ():
                object.__setattr__(self, f.name, _CHECKS[f.name](value))

    def usual(self, *, simulated: bool, exercised: bool) -> Settings:
        """Return these settings with the measures that are of use, where they name none.

        Of what is `simulated` standard errors are, and bounds of what may be `exercised` early.
        """
        if self.measures:
            return self
        measures: tuple[str, ...] = MEASURES
        if simulated or self.method == "monte_carlo":
            measures += STATISTICS + BOUNDS * exercised
        return replace(self, measures=measures)

    def identity(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, floats exactly."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return given | {"tolerance": self.tolerance.hex(), "measures": sorted(self.measures)}

    @classmethod
    def of_identity(cls, identity: Mapping[str, Any]) -> Settings:
        """Rebuild the settings that `identity` described, perhaps among other things."""
        given = {f.name: identity[f.name] for f in fields(cls)}
        return cls(**given | {"tolerance": float.fromhex(identity["tolerance"])})


def check_measures(
    measures: Iterable[str], every: Sequence[str] = EVERY_MEASURE
) -> tuple[str, ...]:
    """Return `measures` in the order of `every` measure there is, without repeats."""
    if isinstance(measures, str):
        raise SpecError(f"measures: must be a list of names, got {measures!r}")
    asked = list(measures)
    for measure in asked:
        if measure not in every:
            hint = suggest(str(measure), every)
            known = ", ".join(every)
            raise SpecError(f"measures: must be of {known}; got {measure!r}{hint}")
    if not asked:
        raise SpecError("measures: must name at least one")
    return tuple(measure for measure in every if measure in asked)


def check_method(method: object) -> str:
    """Return `method` if there is one of that name."""
    return _one_of("method", METHODS, method)


def check_sampling(sampling: object) -> str:
    """Return `sampling` if there is one of that name."""
    return _one_of("sampling", SAMPLINGS, sampling)


def check_tolerance(tolerance: object) -> float:
    """Return `tolerance` (largest error per unit of strike) as a float in [1e-12, 1]."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise SpecError(f"tolerance: must be a number, got {tolerance!r}")
    if not 1e-12 <= tolerance <= 1:
        raise SpecError(f"tolerance: must lie between 1e-12 and 1, got {tolerance!r}")
    return float(tolerance)


def check_seed(seed: object) -> int:
    """Return `seed` if it is a whole number below 2^63."""
    return _whole("seed", seed, 0, 2**63 - 1)


def check_paths(paths: object) -> int:
    """Return `paths` if a simulation can be of so many."""
    return _whole("paths", paths, LEAST_PATHS, MOST_PATHS)


def _whole(name: str, number: object, least: int, most: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise SpecError(f"{name}: must be a whole number, got {number!r}")
    if not least <= number <= most:
        raise SpecError(f"{name}: must lie between {least} and {most}, got {number}")
    return number


def _one_of(name: str, known: tuple[str, ...], word: object) -> str:
    if word not in known:
        hint = suggest(str(word), known)
        raise SpecError(f"{name}: must be one of {', '.join(known)}; got {word!r}{hint}")
    return str(word)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "method": check_method,
    "tolerance": check_tolerance,
    "measures": check_measures,
    "seed": check_seed,
    "sampling": check_sampling,
    "paths": check_paths,
}
