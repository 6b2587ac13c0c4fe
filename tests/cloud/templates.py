"""The stacks of infra/, synthesised as the `cdk` command does, without it and without Docker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from infra.cdk import path_with_node

ROOT = Path(__file__).parents[2]


def synthesise(outdir: Path, **context: str) -> Path:
    """Write the templates of one deployment into `outdir`, and return it."""
    done = run_app(outdir, context, "-m", "infra.app")
    if done.returncode:
        raise RuntimeError(f"the stacks cannot be synthesised: {done.stdout}{done.stderr}")
    return outdir


def run_app(
    outdir: Path, context: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments as the `cdk` command does, told all by environment."""
    told = {"CDK_OUTDIR": str(outdir), "CDK_CONTEXT_JSON": json.dumps(context)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | told | {"PATH": path_with_node()},
        capture_output=True,
        text=True,
        check=False,
    )
