"""Every command and snippet of the site runs, page by page, and prints what the page shows.

Blocks of a page go to one folder and one store, in order:

- ``toml``, ``csv`` and the like with a title are files of that name;
- ``console`` is commands after ``$ `` and what they print, where ``...`` leaves lines out;
- ``python`` is run, all of a page in one namespace; a ``text`` block right after is what it prints;
- ``sh`` needs an account, a browser or an install: its commands are parsed, not run. But `serve` is
  started, on a free port, which stands for port 8000 in what follows on the page.

Pages that price on AWS run on the emulator's.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import sync_playwright

import pricer
from pricer.cli import cli
from pricer.compiled import kernels
from pricer.executors.stepfunctions import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RUN = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md")), DOCS / "index.md"]
ON_AWS = ("aws", "schedule")
SERVED = "localhost:8000"
FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"(?:\.venv/bin/)?pricer (.*)")
# What a machine takes, when, and what a kernel of another version is called.
ELIDED = (
    (re.compile(r"\b[0-9a-f]{12}(?:[0-9a-f]{52})?\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:[\d.+:]+)?"), "TIME"),
    (re.compile(r"(?:under )?[\d,.]+ (?:µs|ms|s|min|h)\b"), "TIME"),
    (
        re.compile(
            r"[\d,.]+( [kM])?( million)?( thousand)?( cells| options| rows)?(/s\b| a second)"
        ),
        "SPEED",
    ),
    (re.compile(r"sqlite:///\S+\.db"), "STORE"),
    (re.compile(r"s3://[^/\s]+/"), "s3://BUCKET/"),
    (re.compile(r"[\d.]+ [kM]B\b"), "SIZE"),
    (re.compile(r"on \d+ cores?"), "on CORES"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def lines_of(text: str) -> list[str]:
    """Return the lines of a text without what differs from one machine or day to the next."""
    for pattern, instead in ELIDED:
        text = pattern.sub(instead, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def assert_shown(shown: str, printed: str, what: str) -> None:
    """Hold the lines that a page shows against those that were printed."""
    expected, got = lines_of(shown), lines_of(printed)
    at, exact = 0, True
    for line in expected:
        if line == "...":
            exact = False
            continue
        if exact:
            assert at < len(got), f"{what}: {line!r} is not printed:\n{printed}"
            assert line == got[at], f"{what} prints:\n{printed}"
            at += 1
            continue
        assert line in got[at:], f"{what}: {line!r} is not printed:\n{printed}"
        at += got[at:].index(line) + 1
        exact = True
    assert not exact or at == len(got), f"{what} prints more:\n{printed}"


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a ``console`` block, and what the page shows of its output."""
    joined = text.replace("\\\n", " ")
    assert joined.startswith("$ ")
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def run_command(command: str, shown: str, place: str) -> None:
    if command.startswith("curl "):
        words = shlex.split(command.replace(SERVED, place))
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        assert_shown(shown, done.stdout, command)
        return
    found = PROGRAM.fullmatch(command)
    assert found, f"{command!r}: only pricer and curl are run"
    result = CliRunner().invoke(cli, shlex.split(found[1]))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    fails = shown.startswith("Error: ")
    assert result.exit_code == fails, f"{command}: {result.output}"
    if shown:
        assert_shown(shown, result.stderr if fails else result.stdout, command)


def run_page(page: Path, store: str = "") -> None:
    """Run a page; where it names a store in Python, that is `store`."""
    namespace: dict[str, Any] = {}
    printed, place = "", SERVED
    with contextlib.ExitStack() as until_the_end:
        for block in blocks(page):
            match block.language:
                case "console":
                    for command, shown in commands(block.text):
                        run_command(command, shown, place)
                case "python":
                    code = re.sub(r'"dynamodb://[^"]+"', repr(store), block.text)
                    out = io.StringIO()
                    with contextlib.redirect_stdout(out):
                        code = code.replace(SERVED, place)
                        exec(compile(code, page.name, "exec"), namespace)
                    printed = out.getvalue()
                case "text":
                    assert_shown(block.text, printed, f"{page.name}: the block before")
                case "sh":
                    for line in shell_lines(block.text):
                        parse(line)
                        if re.match(r"pricer serve(?! --on aws)", line):
                            place = until_the_end.enter_context(serving(line))
                case _:
                    what = f"{page.name}: a block of {block.language!r} must have a title"
                    assert block.title, what
                    Path(block.title).write_text(block.text, encoding="utf-8")


@contextlib.contextmanager
def serving(line: str) -> Iterator[str]:
    """Serve as a page says, but on a free port; yield host and port."""
    words = [*shlex.split(line)[1:], "--no-open", "--port", "0", "--json"]
    command = [sys.executable, "-c", "from pricer.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            document = json.loads("".join(process.stdout.readline() for _ in range(4)))
            httpx.get(document["url"], timeout=30).raise_for_status()
            yield document["url"].removeprefix("http://").rstrip("/")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


def shell_lines(text: str) -> list[str]:
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def parse(line: str) -> None:
    """Parse a command as the command line does, without running it; look up a target of make."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    if found := PROGRAM.match(line):
        words = shlex.split(re.split(r" [>|<] ?", found[1])[0])
        with cli.make_context("pricer", words) as context:
            name, command, rest = cli.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert name is not None
            assert command is not None
            command.make_context(name, list(rest), parent=context)
    elif line.startswith("make "):
        assert f"\n{shlex.split(line)[1]}:" in makefile, line
    else:
        known = r"(git (clone|pull)|cd|python3 -[mc]|\S*pip install|aws|eval)\b"
        assert re.match(known, line), line


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    kernels()


@pytest.fixture
def beside_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("beside_the_examples")
@pytest.mark.parametrize(
    "page", [page for page in RUN if page.stem not in ON_AWS], ids=lambda page: page.stem
)
def test_every_command_and_snippet_of_a_page_runs(page: Path) -> None:
    assert blocks(page)
    run_page(page)


@pytest.mark.usefixtures("aws", "cloud", "beside_the_examples")
@pytest.mark.parametrize("name", ON_AWS)
def test_every_command_and_snippet_of_a_page_runs_on_aws(name: str) -> None:
    run_page(DOCS / "howto" / f"{name}.md", Deployment.find().store().url)


def test_what_a_page_says_to_click_is_there() -> None:
    said = (DOCS / "howto" / "browser.md").read_text(encoding="utf-8")
    scripts = (ROOT / "pricer" / "web" / "static").glob("*.js")
    page = "".join(script.read_text(encoding="utf-8") for script in scripts)
    names = re.findall(r"\*\*(.+?)\*\*", said)
    assert len(names) > 5
    assert [name for name in names if f'"{name}"' not in page] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, without a warning; return its folder."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        # Not --quiet, which would let warnings pass.
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page_and_fetches_nothing(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(https?:)?//")
    for built in site.rglob("*.html"):
        assert not loads.search(built.read_text(encoding="utf-8")), built.name
    for built in site.rglob("*.css"):
        text = built.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\([\"']?(https?:)?//", text), built.name
    for page in pages():
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists()


# The page itself, and code at the start of a row in pieces.
ON_A_PHONE = """
() => [
  document.documentElement.scrollWidth,
  [...document.querySelectorAll("td:first-child code")]
    .filter((code) => code.getBoundingClientRect().height > 30)
    .map((code) => code.textContent),
]
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium on this machine")
def test_on_a_phone_nothing_is_cut_off_and_no_name_in_a_table_is_broken(site: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 360, "height": 740})
        for page in pages():
            tab.goto((site / page.relative_to(DOCS)).with_suffix(".html").as_uri())
            assert tab.evaluate(ON_A_PHONE) == [360, []], page.name
        browser.close()


def test_the_reference_has_every_public_name() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    named = set(re.findall(r"^::: pricer\.(\w+)$", text, re.MULTILINE))
    assert named >= set(pricer.__all__) - {"MEASURES", "METHODS", "__version__"}


def test_every_command_that_a_page_names_can_be_parsed() -> None:
    seen = 0
    for page in pages():
        for block in blocks(page):
            if block.language in ("", "sh", "bash"):
                for line in shell_lines(block.text):
                    if PROGRAM.match(line):
                        parse(line)
                        seen += 1
    assert seen > 20


def test_the_help_of_every_command_ends_with_examples_that_can_be_parsed() -> None:
    for name, command in cli.commands.items():
        assert command.epilog, name
        lines = shell_lines(command.epilog.partition("Examples:\n")[2])
        assert lines, name
        for line in lines:
            assert line.startswith(f"pricer {name}"), line
            parse(line)
