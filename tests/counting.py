"""A store in memory that tells which blocks were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricer.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Counting(MemoryStore):
    """Counts the blocks that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        for block, data in super().blocks(run_id, numbers):
            self.read.append(block)
            yield block, data
