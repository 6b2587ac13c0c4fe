"""What a run really used of AWS, from its logs and its markers, and what AWS charges for that."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from .fanout import Prices


@cache
def prices() -> Prices:
    """Read the package's table of prices."""
    table = json.loads(files("pricer").joinpath("aws_prices.json").read_text())
    each = {name: row["usd"] / row["per"] for name, row in table["prices"].items()}
    return Prices(as_of=table["as_of"], region=table["region"], **each)
