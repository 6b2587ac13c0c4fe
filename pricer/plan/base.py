"""What every plan can tell: which solves are shared, how cells are cut, what a run is called.

A family is the set of cells that one solve prices; of a panel, the cells of one firm. Cells are
numbered 0..n-1, family after family, and decoded from their number; those of a grid are never
expanded.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, overload

from pricer.blocks import BLOCK_BYTES, cell_bytes
from pricer.errors import PlanError, RunNotFoundError
from pricer.families import sort_by_family
from pricer.grid import Grid
from pricer.panel import Panel
from pricer.settings import EVERY_MEASURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pricer.book import Book
    from pricer.cells import Cells
    from pricer.families import Families
    from pricer.panel import Read
    from pricer.settings import Settings

    Indices = NDArray[np.int64]

FORMAT = 2
# The most cells of a block where all are simulated, which takes up to tenths of a second each, and
# where all of these are exercised early as well, which takes up to ten seconds.
SIMULATED_CELLS, EXERCISED_CELLS = 64, 1
# How many families say whether all are.
SAMPLE_FAMILIES = 64


@dataclass(frozen=True, slots=True)
class Chunks(Sequence[range]):
    """Ranges of blocks, `size` blocks each, the last perhaps fewer; none is expanded."""

    blocks: int
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a chunk must have at least one block, got {self.size}")

    def __len__(self) -> int:
        """Return the number of chunks."""
        return -(-self.blocks // self.size)

    @overload
    def __getitem__(self, index: int) -> range: ...
    @overload
    def __getitem__(self, index: slice) -> list[range]: ...
    def __getitem__(self, index: int | slice) -> range | list[range]:
        """Return the blocks of one chunk."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        first = range(len(self))[index] * self.size
        return range(first, min(first + self.size, self.blocks))


@dataclass(frozen=True, slots=True)
class Bulk:
    """A file beside a plan that is too large for memory: `size` bytes, read a range at a time.

    `read` returns those from its first argument to before its second.
    """

    size: int
    read: Callable[[int, int], bytes]


@dataclass(frozen=True, eq=False)
class Plan(ABC):
    """How a grid, a book or a panel is priced and stored: its families, blocks and id.

    `block_cells` is the number of cells that a block holds at most, `as_of` the time at which a
    schedule had it priced, as ISO 8601 text, empty where none did.
    """

    kind: ClassVar[str]
    every_measure: ClassVar[tuple[str, ...]]

    spec: Grid | Book | Panel
    kernel_version: str
    run_id: str
    block_cells: int
    as_of: str = field(default="", kw_only=True)

    @overload
    @staticmethod
    def of(spec: Grid | Book, kernel_version: str, as_of: str = "") -> OptionPlan: ...
    @overload
    @staticmethod
    def of(spec: Grid | Book | Panel, kernel_version: str, as_of: str = "") -> Plan: ...
    @staticmethod
    def of(spec: Grid | Book | Panel, kernel_version: str, as_of: str = "") -> Plan:
        """Plan `spec` for the kernel of that version; each `as_of` is a run of its own."""
        from .book import BookPlan
        from .grid import GridPlan
        from .panel import PanelPlan

        run_id = _run_id(spec.identity(), kernel_version, as_of)
        if isinstance(spec, Panel):
            block_cells = BLOCK_BYTES // cell_bytes(spec.measures)
            offsets = spec.cell_offsets
            return PanelPlan(spec, kernel_version, run_id, block_cells, offsets, as_of=as_of)
        block_cells = BLOCK_BYTES // cell_bytes(spec.settings.measures)
        plan: OptionPlan
        if isinstance(spec, Grid):
            plan = GridPlan(spec, kernel_version, run_id, block_cells, as_of=as_of)
        else:
            order, offsets = sort_by_family(spec.cells)
            cells = spec.cells[order]
            plan = BookPlan(
                spec, kernel_version, run_id, block_cells, offsets, order, cells, as_of=as_of
            )
        return replace(plan, block_cells=min(block_cells, _most_cells(plan)))

    @staticmethod
    def from_json(text: str, columns: Mapping[str, bytes] | None = None) -> Plan:
        """Rebuild the plan that `to_json` and `columns` described."""
        from . import book, grid, panel

        with _whole():
            document = _parsed(text)
            match document["kind"]:
                case "grid":
                    return grid.stored(document)
                case "panel":
                    return panel.stored(document, columns or {})
            return book.stored(document, columns or {})

    @staticmethod
    def window(text: str, read: Read, first_block: int, end_block: int) -> Window:
        """Rebuild so much of the plan that `to_json` described as those blocks need.

        Of a book or a panel that is the families they touch, which `read` returns from its
        `columns` and `bulk`.
        """
        from . import book, grid, panel

        with _whole():
            document = _parsed(text)
            match document["kind"]:
                case "grid":
                    return Window(grid.stored(document), 0, 0)
                case "panel":
                    return panel.window(document, read, first_block, end_block)
            return book.window(document, read, first_block, end_block)

    def to_json(self) -> str:
        """Describe the plan, but for its files, so that any process can rebuild it exactly."""
        document = {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.spec.name,
            "spec": self.spec.identity(),
            "run_id": self.run_id,
            "kernel_version": self.kernel_version,
            "block_cells": self.block_cells,
        }
        if isinstance(self.spec, Grid) and (labels := self.spec.labels()):
            document["labels"] = labels
        if self.as_of:
            document["as_of"] = self.as_of
        return _canonical(document)

    def columns(self) -> dict[str, bytes]:
        """Return what of a book or a panel a store keeps beside `to_json`; nothing for a grid."""
        return {}

    def bulk(self) -> dict[str, Bulk]:
        """Return what only those read who price, where they have not the file that is submitted.

        No store keeps it on this machine: who submits the file again has it.
        """
        return {}

    def fed(self, spec: Grid | Book | Panel) -> Plan:
        """Return this plan, which a store has kept, with what it has not of an equal `spec`."""
        del spec
        return self

    @property
    @abstractmethod
    def measures(self) -> tuple[str, ...]:
        """What is computed of each cell."""

    @property
    def cell_bytes(self) -> int:
        """The stored size of one cell."""
        return cell_bytes(self.measures)

    @property
    def stored_bytes(self) -> int:
        """The size of all blocks."""
        return self.cells * self.cell_bytes

    @property
    @abstractmethod
    def cells(self) -> int:
        """The number of cells."""

    @property
    @abstractmethod
    def families(self) -> int:
        """The number of families."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """The number of blocks."""

    @abstractmethod
    def block_range(self, block: int) -> tuple[int, int]:
        """Return the first cell of `block` and the cell after its last."""

    @abstractmethod
    def family_range(self, block: int) -> tuple[int, int]:
        """Return the first family that `block` touches and the family after its last."""

    @abstractmethod
    def block_of(self, cells: Indices) -> Indices:
        """Return the block of each cell."""

    @abstractmethod
    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""

    @abstractmethod
    def why(self) -> str:
        """Say in a line which inputs share a solve."""

    def chunks(self, chunk_blocks: int) -> Chunks:
        """Cut the blocks into chunks of `chunk_blocks`."""
        return Chunks(self.blocks, chunk_blocks)

    def _check_block(self, block: int) -> None:
        if not 0 <= block < self.blocks:
            raise IndexError(f"block must be below {self.blocks}, got {block}")


@dataclass(frozen=True, eq=False)
class OptionPlan(Plan):
    """The plan of a grid or a book, whose cells are options."""

    every_measure = EVERY_MEASURE

    spec: Grid | Book

    @property
    def settings(self) -> Settings:
        """How cells are priced."""
        return self.spec.settings

    @property
    def measures(self) -> tuple[str, ...]:
        """What is computed of each cell."""
        return self.settings.measures

    @abstractmethod
    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""

    @abstractmethod
    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""

    @abstractmethod
    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a plan that is a plan itself and cuts the same blocks.

    Its block 0 is block `first_block` of the whole, its cell 0 is cell `first_cell`.
    """

    plan: Plan
    first_block: int
    first_cell: int


def _most_cells(plan: OptionPlan) -> int:
    """Return the most cells that a block may have for what they take, by some families."""
    # Here, so that reading runs need not load all that prices them.
    from pricer.alone import kernels_alone
    from pricer.methods import BEYOND, methods_of

    families = plan.families_at(0, min(plan.families, SAMPLE_FAMILIES))
    if (methods_of(families, plan.settings.method) != BEYOND).any():
        return plan.block_cells
    names = kernels_alone(families.cells, plan.settings)
    if names == ["least_squares"]:
        return EXERCISED_CELLS
    return SIMULATED_CELLS if {"baskets", "simulation"} & set(names) else plan.block_cells


def part_cells(family_cells: int, block_cells: int) -> int:
    """Return the cells of each of the equal parts that a family larger than a block is cut into."""
    parts = -(-family_cells // block_cells)
    return -(-family_cells // parts)


@contextmanager
def _whole() -> Iterator[None]:
    """Say of a plan that cannot be rebuilt that it is damaged."""
    try:
        yield
    except RunNotFoundError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise PlanError(f"a plan is damaged: {type(error).__name__}: {error}") from error


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PlanError(f"a plan must be JSON: {error}") from None
    if not isinstance(document, dict):
        raise PlanError(f"a plan must be a JSON object, got {type(document).__name__}")
    if document.get("format") != FORMAT:
        raise PlanError(
            f"a plan must be of format {FORMAT}, got {document.get('format')};"
            " another version of pricer wrote it"
        )
    as_of = document.setdefault("as_of", "")
    named = _run_id(document["spec"], document["kernel_version"], as_of)
    if document["run_id"] != named:
        raise PlanError(f"a plan must be what its id {document['run_id']} says, which is {named}")
    return document


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _run_id(identity: Mapping[str, Any], kernel_version: str, as_of: str) -> str:
    dated = {"as_of": as_of} if as_of else {}
    document = _canonical({**identity, **dated, "kernel": kernel_version})
    return hashlib.sha256(document.encode()).hexdigest()
