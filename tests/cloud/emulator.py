"""An AWS on this machine: MiniStack on loopback, at the port that GATEWAY_PORT says."""

from __future__ import annotations

import os


def main() -> None:
    """Serve until killed."""
    os.environ.setdefault("BIND_HOST", "127.0.0.1")
    from ministack.app import main as serve

    serve()


if __name__ == "__main__":
    main()
