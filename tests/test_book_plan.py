"""Plans of books that have contracts of every type, dividends, dates and curves."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.book import Book, table_of
from pricer.cells import NO_TABLE
from pricer.claims import claims_of, dated, paid_cash
from pricer.contracts import CURVES, INPUTS, TABLES
from pricer.errors import SpecError
from pricer.plan import BookPlan, Plan
from pricer.selection import book_columns, select_rows

if TYPE_CHECKING:
    from pricer.cells import Cells

HEADER = (
    "id,type,right,exercise,spot,strike,expiry,vol,rate,barrier,barrier_type,rebate,direction,"
    "cash,cash_dividends,exercise_dates,monitoring_dates"
)
# In tens of strikes and barriers, so that families can be shared.
ROWS = [
    "a{i},,put,american,{s},{k},{t},.2,.05,,,,,,,,",
    "b{i},barrier,call,,{s},{k},{t},.2,.05,{b},down_out,{c},,,,,",
    "c{i},touch,,,{s},,{t},.2,.05,{b},,,up,{c},,,",
    "d{i},digital,call,,{s},{k},{t},.2,.05,,,,,{c},,,",
    "e{i},vanilla,put,bermudan,{s},{k},{t},.5:.2;1:.3,.05,,,,,,,.25;.5,",
    "f{i},vanilla,call,american,{s},{k},{t},.2,.05,,,,,,0.25:1.5;0.75:{c},,",
    "g{i},barrier,put,,{s},{k},{t},.2,.05,{b},up_in,{c},,,,,.25;.5",
    "h{i},vanilla,put,american,{s},-1,{t},.2,.05,,,,,,,,",
]


def mixed(count: int, seed: int = 1) -> Book:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        k = 10 * int(rng.integers(8, 12))
        values = {"i": i, "k": k, "s": rng.integers(80, 120), "t": rng.integers(1, 3)}
        values |= {"b": k * int(rng.integers(5, 7)) // 5, "c": k // 10}
        rows.append(ROWS[rng.integers(len(ROWS))].format(**values))
    return Book.parse("\n".join([HEADER, *rows]))


def plan_of(book: Book) -> BookPlan:
    plan = Plan.of(book, "kernel")
    assert isinstance(plan, BookPlan)
    return plan


def tables_of(cells: Cells) -> dict[str, list[object]]:
    """Return the tables of each cell themselves, wherever they are."""
    names = (*TABLES, *(f"{name}_curve" for name in CURVES))
    return {
        name: [None if at == NO_TABLE else cells.tables[at] for at in getattr(cells, name).tolist()]
        for name in names
    }


def assert_cells_equal(found: Cells, expected: Cells) -> None:
    for name in ("type", *INPUTS):
        if name not in TABLES:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert tables_of(found) == tables_of(expected)


def test_a_plan_of_every_type_is_rebuilt_exactly_from_what_a_store_keeps() -> None:
    book = mixed(300)
    plan = plan_of(book)
    again = Plan.from_json(plan.to_json(), plan.columns())
    assert isinstance(again, BookPlan)
    assert again.spec.identity() == book.identity()
    assert again.columns() == plan.columns()
    assert_cells_equal(again.sorted_cells, plan.sorted_cells)
    assert_cells_equal(again.spec.cells, book.cells)
    assert again.spec.columns == book.columns


@given(count=st.integers(1, 60), chunk_blocks=st.integers(1, 5))
def test_a_window_of_every_type_has_the_families_of_the_whole(
    count: int, chunk_blocks: int
) -> None:
    whole = replace(plan_of(mixed(count, seed=count)), block_cells=7)
    files = whole.columns()
    for chunk in whole.chunks(chunk_blocks):
        window = Plan.window(
            whole.to_json(), lambda name, a, b: files[name][a:b], chunk.start, chunk.stop
        )
        assert isinstance(window.plan, BookPlan)
        for block in chunk:
            first, end = whole.block_range(block)
            cells, offsets = whole.cells_at(first, end)
            found, found_offsets = window.plan.cells_at(
                first - window.first_cell, end - window.first_cell
            )
            assert_cells_equal(found, cells)
            assert found_offsets.tolist() == offsets.tolist()
            part = window.plan.families_at(*window.plan.family_range(block - window.first_block))
            expected = whole.families_at(*whole.family_range(block))
            assert_cells_equal(part.cells, expected.cells)
            assert part.expiries.tolist() == expected.expiries.tolist()
            assert part.moneyness_high.tolist() == expected.moneyness_high.tolist()


def test_cells_of_a_family_have_equal_claims_per_unit_market_and_dates() -> None:
    plan = plan_of(mixed(2000))
    cells, offsets = plan.cells_at(0, plan.cells)
    relative = claims_of(cells).relative()
    valid = cells.valid()
    assert plan.families < valid.sum()
    for first, end in pairwise(offsets.tolist()):
        if not valid[first]:
            continue
        for f in fields(relative):
            if f.name not in ("unit", "scale"):
                assert len(set(getattr(relative, f.name)[first:end].tolist())) == 1, f.name
        for name in CURVES:
            assert len(set(getattr(cells, name)[first:end].tolist())) == 1
        tables = tables_of(cells[first:end])
        assert all(len(set(tables[name])) == 1 for name in tables if name != "exercise_dates")
        if dated(cells[first:end]).any():
            assert len(set(cells.expiry[first:end].tolist())) == 1
        if paid_cash(cells[first:end]).any():
            assert len(set(cells.strike[first:end].tolist())) == 1


def test_equal_families_share_a_solve_whatever_their_strike() -> None:
    rows = ["b,barrier,call,,100,100,1,.2,.05,90,down_out,3,,,,,"]
    rows += ["b,barrier,call,,100,200,2,.2,.05,180,down_out,6,,,,,"]
    rows += ["c,touch,,,100,,1,.2,.05,120,,,up,5,,,", "c,touch,,,100,,2,.2,.05,240,,,up,1,,,"]
    assert plan_of(Book.parse("\n".join([HEADER, *rows]))).families == 2


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            ROWS[:2],
            "rows with equal words, vol, rate, dividend_yield, barriers and payments as multiples"
            " of the strike, exercise_dates, monitoring_dates and cash_dividends share one solve",
        ),
        (ROWS[6:7], "; with dates or curves also equal expiry"),
        (ROWS[5:6], "; with cash dividends also equal strike"),
    ],
)
def test_a_book_of_every_type_says_why(rows: list[str], why: str) -> None:
    values = {"i": 1, "k": 100, "s": 100, "t": 1, "b": 120, "c": 3}
    text = "\n".join([HEADER, *(row.format(**values) for row in rows)])
    assert plan_of(Book.parse(text)).why().endswith(why)


def test_rows_are_selected_by_words_and_tables() -> None:
    plan = plan_of(mixed(200))

    def selected(**selection: str) -> set[str]:
        table, cells = select_rows(plan, selection, nearest=False, limit=None)
        assert plan.order[cells].tolist() == (table["row"] - 1).tolist()
        return {name[0] for name in table["id"].tolist()}

    assert selected(type="Barrier") == {"b", "g"}
    assert selected(exercise_dates="0.25;0.5") == {"e"}
    assert selected(vol="0.5:0.2;1.0:0.3") == {"e"}
    assert selected(vol="0.2", right="call") == {"b", "d", "f"}
    with pytest.raises(SpecError, match="barrier_type: up_out is not there; there are down_out, "):
        selected(barrier_type="up_out")
    with pytest.raises(SpecError, match="type: double_touch is not there; there are vanilla, dig"):
        selected(type="double_touch")


def test_what_a_type_does_not_have_is_shown_blank() -> None:
    columns = book_columns(mixed(100), slice(None))
    touch = columns["type"] == "touch"
    assert set(columns["right"][touch]) == set(columns["barrier_type"][touch]) == {""}
    assert np.isnan(columns["strike"][touch]).all()
    assert (columns["direction"] == np.where(touch, "up", "")).all()
    bermudan = columns["exercise"] == "bermudan"
    assert set(columns["vol"][bermudan]) == {"0.5:0.2;1.0:0.3"}
    assert set(columns["vol"][~bermudan]) == {"0.2"}


def test_a_table_is_rebuilt_from_what_the_identity_says() -> None:
    book = mixed(50)
    assert book.cells.tables
    said = book.identity()["tables"]
    assert tuple(map(table_of, said)) == book.cells.tables
