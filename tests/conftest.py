from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

# The first example of a test may compile kernels. Derandomised: a red check stays red.
settings.register_profile("pricer", deadline=None, derandomize=True)
settings.load_profile("pricer")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's store."""
    monkeypatch.setenv("PRICER_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
