"""numba's cache of kernels: written in turn, and read alone where all of them are compiled."""

from __future__ import annotations

import fcntl
import pkgutil
from contextlib import suppress
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba.core import event
from numba.core.caching import IndexDataCacheFile, UserProvidedCacheLocator
from numba.core.dispatcher import Dispatcher

from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def save_in_turn() -> None:
    """Let processes that compile at once take turns at writing.

    numba reads the index of a kernel, adds a type to it and writes it anew: of two that do so at
    once one's would be lost, or stand for what the other has compiled for other types.
    """
    save = IndexDataCacheFile.save

    @wraps(save)
    def in_turn(file: Any, key: Any, data: Any) -> None:
        with Path(file._cache_path, "turn").open("w") as turn:
            # Where a file system has no locks, all is as without.
            with suppress(OSError):
                fcntl.flock(turn, fcntl.LOCK_EX)
            save(file, key, data)  # type: ignore[no-untyped-call]

    IndexDataCacheFile.save = in_turn  # type: ignore[method-assign]


class ReadyLocator(UserProvidedCacheLocator):
    """Finds the cache in numba's CACHE_DIR, also where that cannot be written."""

    def ensure_cache_path(self) -> None:
        """Take the folder as it is: numba would try to write to it."""


class _NeverCompile(event.Listener):
    def on_start(self, compiling: Any) -> None:
        kernel, types = compiling.data["dispatcher"], compiling.data["args"]
        raise KernelError(
            f"kernel cache miss: {kernel.py_func.__module__}.{kernel.py_func.__name__}"
            f"({', '.join(map(str, types))}) is not among those compiled; build and deploy again"
        )

    def on_end(self, compiling: Any) -> None:
        """Do nothing: none begins."""


def never_compile() -> None:
    """Let numba raise `KernelError` from now on where it would compile."""
    event.register("numba:compile", _NeverCompile())  # type: ignore[no-untyped-call]


def missing() -> list[str]:
    """Name the kernels of which the cache on disk has nothing, or less than is compiled here.

    Filled by what prices, it has nothing of those that this never comes to.
    """
    return [name for name, kernel in _kernels() if _kept(kernel) < max(1, len(kernel.signatures))]


def _kernels() -> Iterator[tuple[str, Any]]:
    package = import_module(".kernels", __package__)
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for name, value in vars(import_module(found.name)).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == found.name:
                yield f"{found.name}.{name}", value


def _kept(kernel: Any) -> int:
    """Count what the cache holds of a kernel, compiled."""
    function = kernel.py_func
    name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
    return len(list(Path(kernel.stats.cache_path).glob(f"{name}-*.nbc")))
