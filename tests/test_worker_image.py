"""The image holds all that a worker imports, and nothing else of this package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ONLY_THERE = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace

LOCKED = {name.replace("-", "_") for name in sys.argv[1].split()}
THERE = {*LOCKED, *sys.stdlib_module_names, "dateutil", "opentelemetry", "pricer"}
THERE |= {"_cffi_backend"}

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        # Of the standard library too, though it is not among its names.
        if name.partition(".")[0] not in THERE and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Absent())
"""
WORK = """
import numpy as np

import pricer
from pricer import handler, worker
from pricer.book import Book
from pricer.compiled import kernel_version
from pricer.cells import Cells
from pricer.contracts import INPUTS
from pricer.dated import Dividends
from pricer.grid import Axis, Grid
from pricer.kernels import black_scholes, finite_difference
from pricer.kernelcache import missing
from pricer.merton import MEASURES, Estimates
from pricer.panel import Panel, Windows
from pricer.plan import PanelPlan, Plan
from pricer.settings import Settings
from pricer.stores import StoredRun

assert Path(pricer.__file__).is_relative_to(sys.argv[2]), pricer.__file__
assert missing()

class Kept:
    bucket, write_units = "bucket", 0.0

    def __init__(self, plan):
        self.head = StoredRun(plan.run_id, "", plan.cells, plan.blocks, 1, "2026")
        self.files = {"plan": plan.to_json().encode()} | plan.columns()
        self.done, self.along, self.found = {}, [], {}

    def run(self, run_id):
        return self.head

    def read(self, run_id, name, first=0, end=None):
        return self.files[name][first:end]

    def write(self, run_id, name, data):
        return name

    def clear_reasons(self, run_id):
        pass

    def markers(self, run_id):
        return self.done

    def marker(self, run_id, chunk):
        return self.done.get(chunk)

    def put_blocks(self, run_id, blocks):
        pass

    def put_marker(self, run_id, chunk, summary, *, axes, usage):
        self.done[chunk] = summary
        self.along.append(axes)

    def axes(self, run_id):
        return enumerate(self.along)

    def put_summary(self, run_id, summary):
        self.found = summary

def formula(plan, first, end):
    for block in range(first, end):
        if isinstance(plan, PanelPlan):
            cells = np.diff(plan.block_range(block))[0]
            values = dict.fromkeys((*MEASURES, "error"), np.ones(cells))
            codes = np.ones(cells, np.int8)
            yield block, Estimates(**values, status=codes, why=2 * codes)
            continue
        cells, _ = plan.cells_at(*plan.block_range(block))
        status = np.where(cells.valid(), 0, 1).astype(np.uint8)
        yield block, SimpleNamespace(price=cells.spot, error=cells.spot, status=status)

worker.pricing.price_chunk = formula
fixed = {"right": "put", "exercise": "american", "strike": 1.0, "expiry": 1.0, "rate": 0.0}
grid = Grid((Axis("spot", (1.0, 2.0)), Axis("vol", (0.1, 0.2))), fixed | {"dividend_yield": 0.0})
columns = {name: np.ones(2, "i1") for name in ("right", "exercise")}
columns |= {name: np.array([1.0, np.nan]) for name in INPUTS[2:8]}
columns["cash_dividends"] = np.array([0, -1], "i4")
book = Book(Cells(columns, (Dividends((0.5,), (1.0,)),)))
for spec in (grid, book):
    object.__setattr__(spec, "settings", Settings(measures=("price",)))
ends = np.array([0, 5])
panel = Panel(np.array(["A"], object), ends, ends[1:], "digest", None, Windows((1.0,), 5, 5))
for spec in (grid, book, panel):
    store = Kept(Plan.of(spec, kernel_version()))
    run = store.head.run_id
    assert worker.plan_run(store, run)["chunks"] == 1
    assert worker.price_chunk(store, run, 0, 1)["priced"] == len(store.done) * store.head.cells
    assert worker.finish_run(store, run)["state"] == "complete"
    assert store.found["failures"] if spec is not grid else store.found["axes"]

# What starts runs by the clock has the rest of this package's files.
from pricer import scheduling
from pricer.billing import prices

class Known:
    stack = region = "x"
    bucket = "bucket"

class Files:
    def __init__(self, text):
        self.text = text

    def get_object(self, **_):
        return {"Body": self}

    def read(self):
        return self.text.encode()

started = []
run = SimpleNamespace(id="a", head=SimpleNamespace(cells=1, chunks=1))
scheduling.submit_to = lambda _, spec, **given: started.append((spec, given)) or run
TOML = "[contract]\\ntype = 'vanilla'\\nright = 'put'\\n[axes]\\n" + "\\n".join(
    f"{name} = 1.0" for name in ("spot", "strike", "expiry", "vol", "rate")
)
CSV = "right,spot,strike,expiry_date,vol,rate\\nput,1,1,2027-06-18,0.2,0.05\\n"
for file, text in (("grid.toml", TOML), ("book.csv", CSV)):
    scheduling.aws.client = lambda *_, text=text, **__: Files(text)
    options = {"valuation_date": "as_of"} if file == "book.csv" else {}
    planned = scheduling.Schedule("nightly", file, "0 22 * * ? *", "America/New_York", options)
    scheduling.fire(Known(), planned.to_json() | {"as_of": "2026-11-24T03:00:00Z"})
(grid, given), (book, _) = started
assert given == {"as_of": "2026-11-24T03:00:00+00:00", "detach": True}
assert str(book.valuation_date) == "2026-11-23"
assert prices().region
print("worked")
"""


ANSWER = """
import json
from types import SimpleNamespace

import pricer
from pricer.oneoption import price_one
from pricer.web import apart
from pricer.web.lambda_handler import handler

assert Path(pricer.__file__).is_relative_to(sys.argv[2]), pricer.__file__
http = {"method": "GET", "path": "/api/health", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
context = {"http": http, "domainName": "abc.lambda-url.eu-west-1.on.aws"}
event = {"version": "2.0", "rawPath": "/api/health", "rawQueryString": "", "headers": {}}
event |= {"requestContext": context, "isBase64Encoded": False}
answer = handler(event, SimpleNamespace(aws_request_id="1"))
assert json.loads(answer["body"])["store"].startswith("dynamodb://runs"), answer
print("answered")
"""


def copied(dockerfile: str) -> dict[Path, Path]:
    """Return what a Dockerfile copies of this package, and where to."""
    lines = dockerfile.replace("\\\n", " ").splitlines()
    files: dict[Path, Path] = {}
    for line in lines:
        match line.split():
            case ["COPY", *sources, target] if target.startswith("pricer/"):
                for source in sources:
                    for path in ROOT.glob(source):
                        files[path] = Path(target) / path.name
    return files


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of the files that the image holds of this package."""
    folder = tmp_path_factory.mktemp("image")
    for source, target in copied((ROOT / "infra" / "Dockerfile").read_text()).items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / target)
    return folder


def locked() -> list[str]:
    """Name the distributions that are installed in the image."""
    text = (ROOT / "requirements" / "worker.txt").read_text()
    return sorted(set(re.findall(r"^([a-z0-9_-]+)==", text, re.MULTILINE)))


def test_a_worker_works_with_what_is_in_the_image_and_nothing_else(image: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THERE + WORK, " ".join(locked()), str(image)],
        cwd=image,
        env={"PYTHONPATH": str(image), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "worked\n", done.stderr
    assert not done.stderr


def test_the_web_function_loads_with_what_is_in_the_image(image: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THERE + ANSWER, " ".join(locked()), str(image)],
        cwd=image,
        env={"PYTHONPATH": str(image), "PATH": "", "TABLE_NAME": "runs", "BUCKET_NAME": "runs"}
        | {"AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    line, _, answered = done.stdout.partition("\n")
    assert answered == "answered\n", done.stderr
    assert json.loads(line)["route"] == "/api/health"
    assert not done.stderr


def test_the_image_holds_neither_the_command_line_nor_other_stores(image: Path) -> None:
    names = {path.stem for path in image.rglob("*.py")}
    assert {"handler", "worker", "dynamodb", "finite_difference"} <= names
    assert names.isdisjoint({"cli", "cli_web", "memory", "options", "sqlite", "views"})


def test_no_requirement_of_the_image_draws_plots_or_deploys() -> None:
    assert {"boto3", "numba", "numpy"} <= set(locked())
    assert {"aws-cdk-lib", "click", "pandas", "pyarrow", "rich", "scipy"}.isdisjoint(locked())
