from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Template = dict[str, Any]


@pytest.fixture(scope="session")
def storage(templates: Path) -> Template:
    return read(templates, "Pricer-data")


@pytest.fixture(scope="session")
def service(templates: Path) -> Template:
    return read(templates, "Pricer")


def read(folder: Path, stack: str) -> Template:
    template: Template = json.loads((folder / f"{stack}.template.json").read_text())
    return template


def test_what_holds_state_outlives_its_stack(storage: Template) -> None:
    kept = [r["Type"] for r in storage["Resources"].values() if r.get("DeletionPolicy") == "Retain"]
    assert kept == ["AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket"]
