"""The kernels, compiled: for which processor, under which version, cached where, on how many cores.

Everything numba reads from its environment is set here, before anything imports it. An image has
them ready: `python -m pricer.compiled FOLDER` compiles all of them, and with PRICER_KERNELS=FOLDER
nothing is compiled any more.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import subprocess
import sys
import tempfile
import threading
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import KernelError, PricerError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from numpy.typing import NDArray

logger = logging.getLogger("pricer")

TARGETS = {"x86_64": "x86-64-v3", "amd64": "x86-64-v3", "aarch64": "generic", "arm64": "generic"}
MOST_WORKERS = 256
# What a process takes of memory that compiles some modules, the largest among them.
COMPILE_BYTES = 1_500_000_000
# The modules that callers use, and how long each takes to compile, about, on a core of its own.
COMPILE_S = {
    "black_scholes": 10,
    "finite_difference": 15,
    "averages": 1,
    "baskets": 20,
    "draws": 5,
    "elementary": 1,
    "fourier": 5,
    "heston": 5,
    "implied": 5,
    "jumps": 1,
    "knock": 10,
    "least_squares": 45,
    "lognormal": 10,
    "lookback": 5,
    "merton": 10,
    "quadratic": 5,
    "scheduled": 35,
    "simulation": 25,
}
MODULES = tuple(COMPILE_S)
READY = "PRICER_KERNELS"

# Two threads that import numba at once would see it half imported.
_lock = threading.Lock()


def target() -> str:
    """Name the instruction set that kernels are compiled for, the same on every machine."""
    machine = platform.machine().lower()
    if machine not in TARGETS:
        raise PricerError(f"processor: must be one of {', '.join(TARGETS)}, got {machine!r}")
    return TARGETS[machine]


@cache
def kernel_version(compiled_for: str | None = None) -> str:
    """Identify what bits the kernels compute: a hash of their files, of numba and the target.

    The target is that of this machine, if none of `TARGETS` is given.
    """
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "kernels").glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(f"numba {version('numba')} llvmlite {version('llvmlite')}".encode())
    digest.update(f" {compiled_for or target()}".encode())
    return digest.hexdigest()


def _cache_folder() -> Path:
    import platformdirs

    name = kernel_version()[:32]
    folder = Path(platformdirs.user_cache_dir("pricer")) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"pricer-{os.getuid()}" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernels(*names: str) -> tuple[ModuleType, ...]:
    """Return these modules of kernels, compiled or from the cache; by default those of vanillas."""
    with _lock:
        return _load(names or MODULES[:2])


def for_kernels(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` contiguous and writable, the one layout that kernels are compiled for."""
    return np.require(array, requirements=["C", "W"])


@cache
def _prepare() -> Path | None:
    """Set numba up, once; return the folder of its cache, None where kernels stand ready."""
    ready = os.environ.get(READY, "").strip()
    if ready:
        _use_ready(Path(ready))
        return None
    folder = _cache_folder()
    poisoned = _built_for_another()
    if poisoned:
        logger.warning("numba compiled before pricer: prices may differ in their last bits")
        folder = folder.with_name(f"{folder.name}-host")
        folder.mkdir(exist_ok=True)
    _set_numba({"CACHE_DIR": str(folder)} if poisoned else _fixed(folder))
    return folder


@cache
def _load(names: tuple[str, ...]) -> tuple[ModuleType, ...]:
    folder = _prepare()
    if folder:
        # numba keeps apart what it compiled for each folder of sources.
        place = hashlib.sha256(str(Path(__file__).resolve().parent).encode()).hexdigest()
        markers = {name: folder / f"compiled-{place[:16]}-{name}" for name in names}
        lacking = [name for name, marker in markers.items() if not marker.exists()]
        if lacking:
            _compile(lacking, lambda name: markers[name].touch())
    return tuple(map(_import, names))


def _compile(names: Iterable[str], done: Callable[[str], None]) -> None:
    """Compile modules of kernels, several at once, the longest first; `done` is told of each."""
    check_processor()
    in_order = sorted(names, key=COMPILE_S.__getitem__, reverse=True)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    processes = min(len(in_order), check_workers(None), max(1, memory // COMPILE_BYTES))

    def begun(name: str) -> None:
        logger.warning("compiling kernels of %s, once (%d s)", name, COMPILE_S[name])

    if processes > 1:
        from .compiling import compile_apart

        compile_apart(in_order, processes, begun, done)
        return
    from .kernelcache import save_in_turn

    save_in_turn()
    for name in in_order:
        begun(name)
        _import(name).warm_up()
        done(name)


def _import(name: str) -> ModuleType:
    return import_module(f".kernels.{name}", __package__)


def _use_ready(folder: Path) -> None:
    if not folder.is_dir():
        raise KernelError(f"{READY}: must be a folder of compiled kernels, got {str(folder)!r}")
    check_processor()
    _set_numba(
        _fixed(folder) | {"CACHE_LOCATOR_CLASSES": f"{__package__}.kernelcache.ReadyLocator"}
    )
    from .kernelcache import never_compile

    never_compile()


def _fixed(folder: Path) -> dict[str, str]:
    return {"CACHE_DIR": str(folder), "CPU_NAME": target(), "CPU_FEATURES": ""}


def _set_numba(settings: Mapping[str, str]) -> None:
    os.environ.update({f"NUMBA_{name}": value for name, value in settings.items()})
    numba_config = getattr(sys.modules.get("numba"), "config", None)
    if numba_config:
        # Somebody imported it before us, and it has read its environment.
        for name, value in settings.items():
            setattr(numba_config, name, value)


def build(folder: Path) -> None:
    """Compile every kernel into an empty folder, from which PRICER_KERNELS then takes them.

    Raises
    ------
    KernelError
        Where one is missing that pricing can come to.
    """
    folder.mkdir(parents=True)
    check_processor()
    _set_numba(_fixed(folder))
    _compile(MODULES, lambda _: None)
    from .kernelcache import missing

    if lacking := missing():
        raise KernelError(f"{folder}: lacks {', '.join(lacking)}")
    # Another process, which may not compile, finds all of it.
    again = (
        f"from {__package__}.compiled import MODULES, kernels;"
        " [each.warm_up() for each in kernels(*MODULES)]"
    )
    subprocess.run([sys.executable, "-c", again], env=os.environ | {READY: str(folder)}, check=True)


def _built_for_another() -> bool:
    """Tell whether numba has compiled something already, for a processor of its own choice."""
    if "numba" not in sys.modules:
        return False
    config = sys.modules["numba"].config
    if (target(), "") == (config.CPU_NAME, config.CPU_FEATURES):
        return False
    from numba.core.registry import cpu_target

    return "_toplevel_target_context" in vars(cpu_target)


def check_processor() -> None:
    """Raise `PricerError` where this machine cannot run what kernels are compiled to."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    missing = [name for name in ("avx2", "fma", "bmi2") if not features.get(name)]
    if target() == "x86-64-v3" and missing:
        raise PricerError(
            f"processor: lacks {', '.join(missing)}; price on one with AVX2, FMA and BMI2"
        )


def check_workers(workers: object) -> int:
    """Return the number of threads: as given, else PRICER_WORKERS, else the cores available."""
    if workers is None:
        text = os.environ.get("PRICER_WORKERS", "").strip()
        if not text:
            if hasattr(os, "sched_getaffinity"):
                return len(os.sched_getaffinity(0))
            return os.cpu_count() or 1
        if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
            raise SpecError(
                f"PRICER_WORKERS: must be a whole number from 1 to {MOST_WORKERS}, got {text!r}"
            )
        return int(text)
    if (
        isinstance(workers, bool)
        or not isinstance(workers, int)
        or not 1 <= workers <= MOST_WORKERS
    ):
        raise SpecError(
            f"workers: must be a whole number from 1 to {MOST_WORKERS}, got {workers!r}"
        )
    return workers


if __name__ == "__main__":
    build(Path(sys.argv[1]))
