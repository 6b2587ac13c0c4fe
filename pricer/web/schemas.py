"""What answers look like, for OpenAPI: docs/cli.md says what each field means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pricer.contracts import CURVES, INPUTS, NUMBERS, TABLES, TYPES, WORDS
from pricer.settings import EVERY_MEASURE, LEAST_PATHS, MEASURES, METHODS, SAMPLINGS
from pricer.timeline import ChunkTimes

from .request import LEAST_TOLERANCE, MOST_PATHS

Value = float | str
State = Literal["complete", "incomplete", "running"]


class Document(BaseModel):
    """A JSON object, to which fields may be added."""

    model_config = ConfigDict(extra="allow")


class Failed(Document):
    """Why there is no answer: the line that the command line says."""

    error: str


class Health(Document):
    """That the server answers, and of which version and store it is."""

    version: str
    store: str


class RunLine(Document):
    """A run in the list of all."""

    run: str
    name: str
    state: State
    submitted_at: str
    as_of: str
    cells: int
    done: int
    ok: int
    failed: int


class RunList(Document):
    """Runs of a store, the last submitted first; `next` asks for those that follow."""

    store: str
    runs: list[RunLine]
    total: int
    next: str | None


class Failure(Document):
    """Cells that ended in one way that is not ok."""

    status: str
    reason: str
    count: int
    example: dict[str, Value | None]


class Spread(Document):
    """What the values of one measure span."""

    min: float | None
    mean: float | None
    max: float | None


class Status(RunLine):
    """How far a run is and what its cells came to."""

    chunks: int
    chunks_done: int
    failures: list[Failure]
    measures: dict[str, Spread]
    reasons: dict[str, str]
    inversions: int | None = None


class AxisShown(Document):
    """One swept input and its values as queries name them."""

    name: str
    kind: Literal["number", "word", "table"]
    values: list[Value]


class Column(Document):
    """A column: of numbers and of dates its ends, of texts the first of the different ones."""

    name: str
    kind: Literal["number", "word", "table", "text"]
    min: Value | None = None
    max: Value | None = None
    distinct: int | None = None
    values: list[Value] | None = None


class Asked(Document):
    """What every run says of what can be asked of it."""

    run: str
    name: str
    cells: int
    measures: list[str]


class OptionsAsked(Asked):
    """What runs of options say of how they were priced."""

    method: str
    tolerance: float
    seed: int
    sampling: str
    paths: int


class GridAxes(OptionsAsked):
    """The axes of a grid, in the order of the file, and the inputs of one value."""

    kind: Literal["grid"]
    type: str
    axes: list[AxisShown]
    fixed: dict[str, Value]


class BookColumns(OptionsAsked):
    """The columns of a book."""

    kind: Literal["book"]
    columns: list[Column]


class PanelColumns(Asked):
    """What names the cells of a panel, and how the days of its firms are cut."""

    kind: Literal["panel"]
    columns: list[Column]
    window: int
    step: int


class Cells(Document):
    """A page of rows, a list for each column; `next` asks for those that follow.

    `missing` of the rows are not priced yet: their values and their status are null.
    """

    run: str
    rows: int
    total: int
    missing: int
    next: str | None
    columns: dict[str, list[Any]]


class Step(Document):
    """From when on so many workers are at work."""

    at: float
    workers: int


class Timeline(Document):
    """When the chunks of a run were priced, in the order of their starts."""

    run: str
    name: str
    started_at: str
    seconds: float
    workers: int
    at_once: int
    cold_starts: int
    stragglers: int
    straggler_rule: str
    median_s: float
    without_times: int
    not_done: int
    concurrency: list[Step]
    chunks: list[ChunkTimes]


class Price(Document):
    """One option priced: its inputs, its measures, and how they came about."""

    price: float | None
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    rho: float | None
    dividend_rho: float | None
    error: float | None
    status: Literal["ok", "invalid", "tolerance", "unsupported"]
    method: str
    reason: str


CELLS_EXAMPLE = {
    "run": "5a" * 32,
    "rows": 2,
    "total": 8,
    "missing": 0,
    "next": f"/api/runs/{'5a' * 32}/cells?strike=100&format=json&limit=2&offset=2",
    "columns": {
        "spot": [95.0, 100.0],
        "strike": [100.0, 100.0],
        "price": [10.88, 8.15],
        "error": [2.1e-05, 2.4e-05],
        "status": ["ok", "ok"],
    },
}
OPTION = {
    "right": "put",
    "exercise": "american",
    "spot": 100,
    "strike": 100,
    "expiry": 1,
    "vol": 0.25,
    "rate": 0.05,
}


def option_schema() -> dict[str, Any]:
    """Return what an option to price may say: inputs as grid files have them, and settings."""
    number = {"type": "number"}
    numbers = {"type": "array", "items": number}
    table = [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [number, numbers]}},
        {
            "type": "object",
            "additionalProperties": {"anyOf": [number, numbers, {"type": "string"}]},
        },
    ]
    properties: dict[str, Any] = {"type": {"type": "string", "enum": list(TYPES)}}
    for name in INPUTS:
        if name in WORDS:
            properties[name] = {"type": "string", "enum": list(WORDS[name])}
        elif name in TABLES or name in CURVES:
            also = [number] if name in (*CURVES, "correlation") else []
            properties[name] = {"anyOf": [*also, *table]}
        elif name in NUMBERS:
            properties[name] = dict(number)
    properties |= {
        "method": {"type": "string", "enum": list(METHODS)},
        "tolerance": number | {"minimum": LEAST_TOLERANCE, "maximum": 1},
        "measures": {
            "type": "array",
            "items": {"type": "string", "enum": list(EVERY_MEASURE)},
            "minItems": 1,
            "example": list(MEASURES[:2]),
        },
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "sampling": {"type": "string", "enum": list(SAMPLINGS)},
        "paths": {"type": "integer", "minimum": LEAST_PATHS, "maximum": MOST_PATHS},
    }
    return {
        "type": "object",
        "title": "Option",
        "properties": properties,
        "additionalProperties": False,
        "example": OPTION,
    }
