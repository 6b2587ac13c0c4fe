"""A panel's plan: the cells of a firm are a family, whose days are read once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.errors import PlanError
from pricer.merton import MEASURES
from pricer.panel import NUMBER_BYTES, NUMBERS, Panel, Windows

from .base import Bulk
from .ragged import RaggedPlan, kept, pack, part, windowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pricer.book import Book
    from pricer.grid import Grid
    from pricer.panel import Read

    from .base import Window

    Indices = NDArray[np.int64]
    Texts = NDArray[np.object_]

# How the files are laid out that a store keeps beside a plan. Of each firm, and of the end:
# the first byte of its name among `firms`, its first row, its first cell.
TYPES = {"families": "<i8", "blocks": "<i8", "dates": "<i4", "firms": "u1"}


@dataclass(frozen=True, eq=False)
class PanelPlan(RaggedPlan):
    """A panel's plan: cells are numbered by firm, window and horizon, the last moving fastest."""

    kind = "panel"
    every_measure = MEASURES

    spec: Panel

    @property
    def measures(self) -> tuple[str, ...]:
        """What is computed of each cell."""
        return self.spec.measures

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.spec.cells

    def why(self) -> str:
        """Say in a line what a family is."""
        return "the windows and horizons of a firm share its days"

    def columns(self) -> dict[str, bytes]:
        """Return the firms' names, where firms and blocks are, and the last days of windows."""
        names = [str(firm).encode() for firm in self.spec.firms.tolist()]
        ends = np.cumsum([0, *map(len, names)])
        families = np.column_stack([ends, self.spec.offsets, self.offsets])
        tables = {"families": families, "blocks": self.block_table(), "dates": self.spec.dates}
        packed = {name: pack(table, TYPES[name]) for name, table in tables.items()}
        return packed | {"firms": b"".join(names)}

    def bulk(self) -> dict[str, Bulk]:
        """Return equity, debt and rate of every firm and day."""
        size = int(self.spec.offsets[-1]) * NUMBER_BYTES
        return {name: Bulk(size, partial(self.spec.read, name)) for name in NUMBERS}

    def fed(self, spec: Grid | Book | Panel) -> PanelPlan:
        """Return this plan, which a store has kept, with the days that `spec` reads."""
        assert isinstance(spec, Panel)
        return replace(self, spec=spec)


def stored(document: Mapping[str, Any], columns: Mapping[str, bytes]) -> PanelPlan:
    """Rebuild a plan from what `to_json` described and `columns` returned, without its days."""

    def read(name: str, first: int, end: int) -> bytes:
        del first, end
        raise PlanError(f"a panel's {name} is not kept beside its plan; submit its file again")

    families, dates, names = (
        kept(columns, "panel", name, TYPES[name]) for name in ("families", "dates", "firms")
    )
    return _plan(document, families.reshape(-1, 3), dates, names.tobytes(), read)


def window(document: Mapping[str, Any], read: Read, first_block: int, end_block: int) -> Window:
    """Plan the firms that some blocks touch as a panel of their own."""

    def column(name: str, first: int, end: int) -> NDArray[Any]:
        return part(read, "panel", name, TYPES[name], first, end)

    table = column("blocks", 3 * first_block, 3 * end_block).reshape(-1, 3)
    families = column("families", 3 * table[0, 1], 3 * table[-1, 2] + 3).reshape(-1, 3)
    start, end = families[0], families[-1]
    horizons = len(document["spec"]["horizons"])
    dates = column("dates", start[2] // horizons, end[2] // horizons)
    names = column("firms", start[0], end[0]).tobytes()
    before = int(start[1]) * NUMBER_BYTES

    def read_days(name: str, first: int, end: int) -> bytes:
        return read(name, before + first, before + end)

    plan = _plan(document, families - start, dates, names, read_days)
    return windowed(plan, table, first_block, int(start[2]))


def _plan(
    document: Mapping[str, Any], families: Indices, dates: NDArray[Any], names: bytes, read: Read
) -> PanelPlan:
    said = document["spec"]
    ends = families[:, 0].tolist()
    firms: Texts = np.empty(len(ends) - 1, dtype=object)
    for i in range(len(firms)):
        firms[i] = names[ends[i] : ends[i + 1]].decode()
    panel = Panel(
        firms=firms,
        offsets=families[:, 1].copy(),
        dates=dates,
        digest=said["panel"],
        read=read,
        windows=Windows(tuple(map(float.fromhex, said["horizons"])), said["window"], said["step"]),
        measures=tuple(measure for measure in MEASURES if measure in said["measures"]),
        name=document["name"],
    )
    if not np.array_equal(panel.cell_offsets, families[:, 2]):
        raise PlanError("a panel's plan is damaged: its file families has other cells")
    if len(dates) != panel.window_offsets[-1]:
        raise PlanError(f"a panel's plan is damaged: its file dates has {len(dates)} windows")
    return PanelPlan(
        panel,
        document["kernel_version"],
        document["run_id"],
        document["block_cells"],
        panel.cell_offsets,
        as_of=document["as_of"],
    )
