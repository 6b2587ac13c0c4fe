"""What a run's cells came to: counts, failures by reason, the spread of each measure.

Each chunk has its summary; those of a run merge in chunk order, and no block is read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .claims import paid_cash
from .contracts import TYPES, Status, inputs_of
from .merton import REASONS
from .methods import UNSUPPORTED_REASONS, why_unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .blocks import Priced
    from .cells import Cells
    from .merton import Estimates

    Indices = NDArray[np.int64]
    # Returns the failures among cells, by how each of some ended and their places.
    Explain = Callable[[NDArray[np.uint8], Indices], tuple["Failure", ...]]

# Inputs can be wrong in thousands of ways at once, which nobody would read, nor a store hold.
MOST_REASONS, OTHER_REASONS = 100, "other reasons"
_FAULTS_AT_ONCE = 16  # each doubles the numbers that tell faults apart


@dataclass(frozen=True, slots=True)
class Failure:
    """Cells that ended in one way: how, why, how many; the first of them and its inputs."""

    status: str
    reason: str
    count: int
    cell: int
    example: Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """What the values of one measure span, over the cells that are ok."""

    count: int
    min: float
    max: float
    sum: float

    @property
    def mean(self) -> float:
        """The mean value."""
        return self.sum / self.count

    def shown(self) -> dict[str, float]:
        """Return what people are told of it."""
        return {"min": self.min, "mean": self.mean, "max": self.max}


@dataclass(frozen=True, slots=True)
class Summary:
    """What some cells came to. `measures` holds the spread of each measure and of ``error``.

    Of a panel's cells `inversions` is how many Black-Scholes inversions they took in all.
    """

    cells: int = 0
    ok: int = 0
    failures: tuple[Failure, ...] = ()
    measures: Mapping[str, Spread] = field(default_factory=dict)
    inversions: int | None = None

    @property
    def failed(self) -> int:
        """The number of cells that are not ok."""
        return self.cells - self.ok

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; `from_json` reads it back, every bit of it."""
        document = asdict(self)
        if self.inversions is None:
            del document["inversions"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Summary:
        """Read back what `to_json` returned."""
        return cls(
            cells=document["cells"],
            ok=document["ok"],
            failures=tuple(Failure(**failure) for failure in document["failures"]),
            measures={name: Spread(**s) for name, s in document["measures"].items()},
            inversions=document.get("inversions"),
        )


def summarise(
    prices: Priced, measures: Sequence[str], first: int, inputs: Callable[[NDArray[Any]], Cells]
) -> Summary:
    """Summarise consecutive cells, the first of them cell `first` of its run.

    `inputs` returns the inputs of cells by their numbers in the run.
    """
    return summarise_parts([prices], measures, first, inputs)


def summarise_parts(
    parts: Sequence[Priced],
    measures: Sequence[str],
    first: int,
    inputs: Callable[[NDArray[Any]], Cells],
) -> Summary:
    """Summarise consecutive cells that come in parts, as `summarise` does; faster than one by one.

    A block is small: most of the time goes into calling NumPy, not into its work.
    """
    return _summary(parts, measures, lambda how, where: _failures(how, where + first, inputs))


def summarise_estimates(
    parts: Sequence[Estimates],
    measures: Sequence[str],
    first: int,
    called: Callable[[int], Mapping[str, str | float]],
) -> Summary:
    """Summarise consecutive cells of a panel, the first of them cell `first` of its run.

    `called` names a cell by its number in the run.
    """

    def explain(how: NDArray[np.uint8], where: Indices) -> tuple[Failure, ...]:
        why = np.concatenate([part.why for part in parts])[where]
        days = np.concatenate([part.days for part in parts])
        failures = []
        for at, count in _each(how + 256 * why.astype(np.int64)):
            code, number = Status(int(how[at])), int(where[at]) + first
            reason = REASONS.get(int(why[at]), code.name)
            example = {**called(number), "days": float(days[where[at]])}
            failures.append(Failure(code.name, reason, count, number, example))
        return tuple(failures)

    inversions = np.concatenate([part.inversions for part in parts])
    counted = int(inversions[np.isfinite(inversions)].sum())
    return replace(_summary(parts, measures, explain), inversions=counted)


def _summary(parts: Sequence[Priced], measures: Sequence[str], explain: Explain) -> Summary:
    names = (*measures, "error")
    table = np.stack([np.concatenate([getattr(p, name) for p in parts]) for name in names])
    status = np.concatenate([p.status for p in parts])
    failed = np.flatnonzero(status != Status.ok)
    failures = explain(status[failed], failed) if len(failed) else ()
    if len(failed):
        table = table[:, status == Status.ok]
    spreads = {}
    if table.size:
        rows = zip(table.min(axis=1), table.max(axis=1), table.sum(axis=1), strict=True)
        for name, values, (low, high, total) in zip(names, table, rows, strict=True):
            if np.isfinite(total):
                spreads[name] = Spread(len(values), float(low), float(high), float(total))
            elif finite := values[np.isfinite(values)].tolist():
                # A measure may have no value where the price has one: delta at a kink.
                spreads[name] = Spread(len(finite), min(finite), max(finite), sum(finite))
    return Summary(len(status), len(status) - len(failed), failures, spreads)


def merge(summaries: Iterable[Summary]) -> Summary:
    """Merge summaries of consecutive cells, in order; what fails in too many ways in fewer."""
    cells = ok = 0
    inversions: int | None = None
    failures: dict[tuple[str, str], Failure] = {}
    spreads: dict[str, Spread] = {}
    for summary in summaries:
        cells += summary.cells
        ok += summary.ok
        if summary.inversions is not None:
            inversions = (inversions or 0) + summary.inversions
        for new in summary.failures:
            key = (new.status, new.reason)
            if key not in failures and len(failures) >= MOST_REASONS:
                key = (new.status, OTHER_REASONS)
            old = failures.get(key)
            count = new.count + (old.count if old else 0)
            failures[key] = replace(old or new, reason=key[1], count=count)
        for name, new_spread in summary.measures.items():
            spreads[name] = _joined(spreads[name], new_spread) if name in spreads else new_spread
    return Summary(cells, ok, tuple(failures.values()), spreads, inversions)


def _joined(a: Spread, b: Spread) -> Spread:
    return Spread(a.count + b.count, min(a.min, b.min), max(a.max, b.max), a.sum + b.sum)


def _failures(
    status: NDArray[np.uint8], numbers: Indices, inputs: Callable[[NDArray[Any]], Cells]
) -> tuple[Failure, ...]:
    """Group failed cells by status and, where it is their inputs, by what is wrong with them."""
    kinds = status.astype(np.int64)
    invalid = np.flatnonzero(status == Status.invalid)
    if len(invalid):
        kinds[invalid] += 256 * _faults(inputs(numbers[invalid]))
    unsupported = np.flatnonzero(status == Status.unsupported)
    if len(unsupported):
        kinds[unsupported] += 256 * why_unsupported(inputs(numbers[unsupported]))
    failures = []
    for position, count in _each(kinds):
        code = Status(int(status[position]))
        number = int(numbers[position])
        cell = inputs(numbers[position : position + 1])
        failures.append(Failure(code.name, _reason(code, cell), count, number, _example(cell)))
    return tuple(failures)


def _each(kinds: Indices) -> Iterator[tuple[int, int]]:
    """Yield where each kind is first, in this order, and how often it is there."""
    _, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    return iter(sorted(zip(first.tolist(), counts.tolist(), strict=True)))


def _faults(cells: Cells) -> NDArray[np.int64]:
    """Tell what is wrong with the inputs of each cell: equal numbers, equal faults."""
    groups = np.zeros(len(cells), dtype=np.int64)
    for number, fault in enumerate(cells.faults(), start=1):
        groups = 2 * groups + fault.where
        if number % _FAULTS_AT_ONCE == 0:
            _, groups = np.unique(groups, return_inverse=True)
    return groups


def _example(cell: Cells) -> dict[str, str | float | None]:
    """Return the inputs of a cell as JSON can hold them: words, numbers, None where missing."""
    ((kind, _),) = cell.kinds()
    names = [name for name in inputs_of(kind) if name in cell.columns]
    if TYPES[kind]:
        names.insert(0, "type")
    return {name: cell.shown(name, 0) for name in names}


def _reason(status: Status, cell: Cells) -> str:
    match status:
        case Status.invalid:
            # The value itself is in the example; without it, equal faults are one reason.
            parts = (f"{fault.name} {fault.rule}" for fault in cell.faults())
            spent = paid_cash(cell)[0] and cell.dividend_model[0]
            without = "has escrowed dividends worth more than the spot"
            return "; ".join(parts) or (without if spent else "has no finite price")
        case Status.tolerance:
            return "not reached within the work limit"
        case Status.unsupported:
            return UNSUPPORTED_REASONS[int(why_unsupported(cell)[0])]
        case _:
            return str(status.name)
