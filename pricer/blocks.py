"""How priced cells become bytes and back: docs/blocks.md describes it for other languages."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK_BYTES = 65_536
LEVEL = 6


class Priced(Protocol):
    """What a block is made of: each measure asked for, error and status, all of shape (n,)."""

    @property
    def error(self) -> Floats:
        """The estimated absolute error of the price."""

    @property
    def status(self) -> NDArray[np.uint8]:
        """How each cell ended."""


def cell_bytes(measures: Sequence[str]) -> int:
    """Return the stored size of one cell: a float64 a measure and for error, a byte of status."""
    return 8 * (len(measures) + 1) + 1


def encode_block(prices: Priced, measures: Sequence[str]) -> bytes:
    """Lay out cells as a block: each measure, then error, as little-endian float64, then status."""
    vectors = [getattr(prices, measure) for measure in measures]
    parts = [np.asarray(v, dtype="<f8").tobytes() for v in (*vectors, prices.error)]
    return b"".join((*parts, np.asarray(prices.status, dtype=np.uint8).tobytes()))


def decode_block(data: bytes, measures: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read a block back: measures, ``error`` and ``status``, each of shape (n,), read-only."""
    size = cell_bytes(measures)
    count, rest = divmod(len(data), size)
    if rest or not count:
        raise StoreError(f"a block must hold cells of {size} bytes, got {len(data)} bytes")
    names = (*measures, "error")
    columns: dict[str, NDArray[Any]] = {
        name: np.frombuffer(data, "<f8", count, offset=8 * count * i)
        for i, name in enumerate(names)
    }
    columns["status"] = np.frombuffer(data, np.uint8, count, offset=8 * count * len(names))
    return columns


def blocks_named(first: int, end: int) -> str:
    """Name the blocks `first` to before `end`, as in ``block 3`` and ``blocks 3 to 5``."""
    return f"block {first}" if end == first + 1 else f"blocks {first} to {end - 1}"


def pack_block(data: bytes) -> bytes:
    """Make a block smaller: its whole words byte by byte, all first bytes first, deflated.

    Neighbouring prices share their leading bytes: a fifth less to write, for a millisecond.
    """
    words = len(data) // 8
    shuffled = np.frombuffer(data, np.uint8, 8 * words).reshape(words, 8).T.tobytes()
    return zlib.compress(shuffled + data[8 * words :], LEVEL)


def unpack_block(packed: bytes) -> bytes:
    """Return the block that `pack_block` made smaller."""
    try:
        data = zlib.decompress(packed)
    except zlib.error as error:
        raise StoreError(f"a block must inflate: {error}") from None
    words = len(data) // 8
    plain = np.frombuffer(data, np.uint8, 8 * words).reshape(8, words).T.tobytes()
    return plain + data[8 * words :]
