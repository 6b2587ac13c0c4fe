"""Runs that are submitted and not yet priced, and functions called by hand."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from pricer.aws import client
from pricer.plan import Chunks
from pricer.run import submit_plan

if TYPE_CHECKING:
    from pricer.executors.stepfunctions import Deployment
    from pricer.plan import Plan
    from pricer.stores.dynamodb import DynamoStore


class _Idle:
    """An executor that prices nothing."""

    workers = 1

    def own(self, *_: Any) -> Any:
        return nullcontext(True)

    def execute(self, *_: Any) -> None:
        pass


def submitted(deployment: Deployment, plan: Plan, chunk_blocks: int) -> DynamoStore:
    """Put a run into the store as `submit` does, and start nothing."""
    store = deployment.store()
    submit_plan(plan, store, _Idle(), chunk_blocks=chunk_blocks)
    return store


def chunk_events(plan: Plan, chunk_blocks: int) -> list[dict[str, Any]]:
    """Return what the function that prices gets for each chunk of a run."""
    return [
        {"run": plan.run_id, "first": blocks.start, "end": blocks.stop}
        for blocks in Chunks(plan.blocks, chunk_blocks)
    ]


def call(function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Return what a function answers to an event."""
    answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    document: dict[str, Any] = json.load(answer["Payload"])
    return document
