"""numba's cache of kernels that are all compiled: nothing is written, nothing is compiled again."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba.core import event
from numba.core.caching import UserProvidedCacheLocator
from numba.core.dispatcher import Dispatcher

from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    """Name the kernels of which the cache on disk lacks something that this process compiled.

    Also those of which it compiled nothing: what prices has come to none of them.
    """
    return [
        name
        for name, kernel in _kernels()
        if not kernel.signatures or _kept(kernel) < len(kernel.signatures)
    ]


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
