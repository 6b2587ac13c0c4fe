"""What tests look at of a picture: the figure itself, before it is a file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pricer import pictures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    import pytest


def kept(drawing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that takes every figure that `drawing` draws."""
    figures: list[Any] = []

    @contextmanager
    def figure(path: Path, width: float, height: float) -> Iterator[Any]:
        with pictures.figure(path, width, height) as drawn:
            figures.append(drawn)
            yield drawn

    monkeypatch.setattr(drawing, "figure", figure)
    return figures
