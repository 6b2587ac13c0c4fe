"""How kernels are compiled, and the types they speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int8]
    Indices = NDArray[np.int64]
    Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays.

    It releases the GIL and is cached on disk; dividing by zero gives what IEEE says. Of fast-math
    only `contract`, which fuses multiply-add and gives the same bits wherever the target is the
    same.
    """
    compile_ = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
    return cast("Function", compile_(function))
