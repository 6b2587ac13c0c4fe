"""What `pricer validate` checks."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import pytest

from pricer import pricing, validation
from pricer.contracts import CONTRACTS
from pricer.prices import Prices
from pricer.validation import Case, validate


def test_every_case_passes_and_says_where_it_is_from() -> None:
    cases = validate()
    assert len({case.name for case in cases}) == len(cases) >= 31
    for case in cases:
        assert case.passed, case
        assert case.values > 0
        assert case.source
    assert sum(case.values for case in cases if case.name.startswith("American: ")) >= 80


def test_a_wrong_kernel_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pricing.price

    def wrong(*given: object, **settings: object) -> Prices:
        result = right(*given, **settings)  # type: ignore[arg-type]
        assert result.price is not None
        result.price[result.method == 2] *= 1.0001
        return result

    monkeypatch.setattr(validation, "price", wrong)
    failed = {case.name for case in validate() if not case.passed}
    assert "finite differences against the closed form" in failed
    assert "American: Andersen, Lake, Offengenden 2016" in failed
    assert "barriers: finite differences against the closed form" in failed
    assert "escrowed dividends: finite differences against the closed form" in failed
    assert "put-call parity, closed form" not in failed
    assert "touches: Haug 1998" not in failed


def test_a_value_that_is_not_a_number_does_not_pass() -> None:
    assert Case("", "", 1, 1e-6, 1e-5).passed
    assert not Case("", "", 1, 2e-5, 1e-5).passed
    assert not Case("", "", 1, math.nan, 1e-5).passed


def test_published_values_keep_their_sources() -> None:
    document = json.loads(files("pricer").joinpath("validation.json").read_text(encoding="utf-8"))
    for table in document["tables"]:
        assert len(table["source"]) > 30
        columns = table.get("columns", document["columns"])
        assert all(len(row) == len(columns) for row in table["rows"])


def test_every_product_is_compared_with_what_others_published() -> None:
    document = json.loads(files("pricer").joinpath("validation.json").read_text(encoding="utf-8"))
    of_types = {table.get("type", "vanilla") for table in document["tables"]}
    # Cliquets with limits are in no table.
    assert of_types == set(CONTRACTS) - {"cliquet"}
