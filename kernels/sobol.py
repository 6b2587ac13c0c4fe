"""Sobol points in base 2, and their scrambling by nested uniform permutations of digits.

A point's coordinate is a word of 32 bits, kept here in reversed order: its first binary digit is
the lowest bit. Then sums and products carry from a digit to later ones only, and what they are made
of permutes digits as Owen's scrambling does: each by a function of those before it.

A. B. Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences" (1995); S. Laine, T. Karras,
"Stratified sampling for stochastic transparency" (2011); B. Burley, "Practical hash-based Owen
scrambling", JCGT 9 (2020), with the constants of N. Vegdahl, "Building a better LK hash" (2021).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel
from .joe_kuo import INITIAL
from .lanes import Bits, numbered, product, repeat

if TYPE_CHECKING:
    from .jit import Indices

DIGITS = 32


@cache
def steps() -> Indices:
    """Return how points follow each other in every dimension there is, shape (dimensions, 32).

    Where i + 1 ends with k zeros, its point is that of i, exclusive or number k of the dimension.
    Digits are reversed.
    """
    table = [[1 << digit for digit in range(DIGITS)]]
    for line in INITIAL.splitlines():
        a, *m = (int(word) for word in line.split())
        table.append(_dimension(a, m))
    return np.bitwise_xor.accumulate(table, axis=1)


def _dimension(a: int, m: list[int]) -> list[int]:
    """Return the direction numbers of a primitive polynomial from its first ones (Joe, Kuo)."""
    degree = len(m)
    numbers = [number << (DIGITS - 1 - i) for i, number in enumerate(m)]
    for i in range(degree, DIGITS):
        number = numbers[i - degree] ^ (numbers[i - degree] >> degree)
        for k in range(1, degree):
            if (a >> (degree - 1 - k)) & 1:
                number ^= numbers[i - k]
        numbers.append(number)
    return [int(f"{number:0{DIGITS}b}"[::-1], 2) for number in numbers]


@kernel
def point(steps: Indices, dimension: int, index: int) -> int:
    """Return the point of an index in one dimension, digits reversed."""
    word = 0
    for k in range(DIGITS):
        # Number k enters where the bits k and k + 1 of the index differ.
        if ((index ^ (index >> 1)) >> k) & 1:
            word ^= steps[dimension, k]
    return word


@kernel
def first_points(steps: Indices, dimension: int) -> Bits:
    """Return the points of the indices 0 to 7 in one dimension, digits reversed."""
    gray = numbered() ^ (numbered() >> 1)
    word = repeat(0)
    for k in range(3):
        word = word ^ product((gray >> k) & 1, repeat(steps[dimension, k]))
    return word


@kernel
def scrambled(word: Bits, shift: Bits, factor: Bits) -> Bits:
    """Permute digits, reversed, by what two random words make of them; high bits are not 0."""
    word = word ^ product(word, repeat(0x3D20ADEA))
    word = product(word + shift, factor | 1)
    word = word ^ product(word, repeat(0x05526C56))
    return word ^ product(word, repeat(0x53A22864))
