"""Philox4x32-10 on lanes: random bits that are a function of a counter and a key alone.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC11 (2011).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .jit import kernel
from .lanes import Bits, product, repeat

if TYPE_CHECKING:
    State = tuple[Bits, Bits, Bits, Bits, int, int]

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)  # what is added to the key after each round
LOW = 0xFFFFFFFF


@kernel
def _round(state: State) -> State:
    a, b, c, d, left, right = state
    first, second = product(a, repeat(MULTIPLIERS[0])), product(c, repeat(MULTIPLIERS[1]))
    a, c = (second >> 32) ^ b ^ left, (first >> 32) ^ d ^ right
    return a, second, c, first, (left + STEPS[0]) & LOW, (right + STEPS[1]) & LOW


@kernel
def philox(
    counter: tuple[Bits, Bits, Bits, Bits], key: tuple[int, int]
) -> tuple[Bits, Bits, Bits, Bits]:
    """Return the four random words of a counter of four words and a key of two.

    Words have 32 bits: the high bits of the counter's lanes do not count, those of what is returned
    are not 0.
    """
    state = (*counter, *key)
    # In a row, since a loop would take a fifth longer.
    state = _round(_round(_round(_round(_round(state)))))
    state = _round(_round(_round(_round(_round(state)))))
    return state[0], state[1], state[2], state[3]
