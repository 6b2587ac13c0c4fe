"""A tour of the command line, some three minutes the first time: `make demo` runs it.

Every line after a dollar sign is a real command; the runs go to a store that is deleted at the end.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOUR = (
    ("What will a million American options cost?", "pricer plan examples/american_million.toml"),
    ("Price and store them.", "pricer submit examples/american_million.toml"),
    ("How did it go?", "pricer status latest"),
    (
        "Look at a few: puts at one spot, through strikes and expiries.",
        "pricer query latest right=put spot=100 strike=90:110 expiry=0.25,1"
        " vol=0.2 rate=0.04 dividend_yield=0.02",
    ),
    ("Price a book of different contracts.", "pricer price --book examples/book.csv"),
    ("And are the numbers right?", "pricer validate"),
)


def main() -> int:
    """Run the tour; return the exit code of the first command that fails, or 0."""
    root = Path(__file__).resolve().parents[1]
    program = Path(sys.executable).with_name("pricer")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pricer-demo-") as folder:
        # A pipe has no width: give tables one that a page can hold.
        width = str(shutil.get_terminal_size((110, 24)).columns)
        store = f"sqlite:///{folder}/demo.db"
        environment = {"COLUMNS": width} | os.environ | {"PRICER_STORE": store}
        for title, line in TOUR:
            print(f"\n{bold(title)}\n{dim(f'$ {line}')}\n", flush=True)
            command = [str(program), *shlex.split(line)[1:]]
            code = subprocess.run(command, cwd=root, env=environment, check=False).returncode
            if code:
                return code
    print(f"\n{bold(f'All that took {time.perf_counter() - start:.0f} s.')}")
    print("Go on with your own grid or book: docs/cli.md names every command.")
    return 0


def bold(text: str) -> str:
    """Return `text` in bold where stdout is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def dim(text: str) -> str:
    """Return `text` dimmed where stdout is a terminal."""
    return f"\033[2m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
