"""How fast warm point queries are answered over HTTP: latency of one client, requests/s of several.

    python tests/benchmarks/web.py

The server is a process of its own over an SQLite store, the clients share another: two cores.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pricer

if TYPE_CHECKING:
    from collections.abc import Iterator

GRID = Path(__file__).parents[2] / "examples" / "one_surface.toml"
SECONDS = 2.0
CLIENTS = (1, 8)


@contextmanager
def server(store: str) -> Iterator[str]:
    """Run `pricer serve` while the context lasts; yield its URL."""
    command = "from pricer.cli import main; main()"
    options = ("serve", "--port", "0", "--no-open", "--json", "--store", store)
    process = subprocess.Popen(
        [sys.executable, "-c", command, *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield json.loads("".join(process.stdout.readline() for _ in range(4)))["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


async def client(url: str, path: str, seed: int, ends: float) -> list[float]:
    """Ask for points until `ends`, over one connection; return what each took."""
    where, points, took = urlsplit(url), random.Random(seed), []
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    while time.perf_counter() < ends:
        spot, strike = points.randint(50, 150), points.randint(80, 120)
        query = f"{path}?spot={spot}&strike={strike}&expiry=1&measures=price,delta"
        started = time.perf_counter()
        writer.write(f"GET {query} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        sizes = [line for line in lines if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0].partition(":")[2]))
        took.append(time.perf_counter() - started)
        assert status.split()[1] == "200", body
    writer.close()
    return took


async def load(url: str, path: str, clients: int) -> None:
    """Print p50, p99 and requests/s of so many clients at once."""
    ends = time.perf_counter() + SECONDS
    found = await asyncio.gather(*(client(url, path, seed, ends) for seed in range(clients)))
    took = sorted(one for each in found for one in each)
    p50, p99 = (1e3 * took[int(len(took) * share)] for share in (0.5, 0.99))
    rate = len(took) / SECONDS
    print(f"{clients} clients: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {rate:,.0f} requests/s")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/runs.db"
        run = pricer.submit(pricer.Grid.parse(GRID.read_text()), store)
        path = f"/api/runs/{run.id}/cells"
        with server(store) as url:
            asyncio.run(load(url, path, 1))
            for clients in CLIENTS:
                asyncio.run(load(url, path, clients))


if __name__ == "__main__":
    main()
