"""The stack that holds state; it changes rarely, and what it holds outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Stack

from infra.plans_bucket import PlansBucket
from infra.results_table import ResultsTable

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings


class StorageStack(Stack):
    """A table for results and a bucket for plans."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(
            scope, f"{settings.name}-data", description="pricer: results and plans of runs"
        )
        self.table = ResultsTable(self, "Results", settings.warm_write_units).table
        self.bucket = PlansBucket(self, "Plans", settings.keep_days).bucket
        # By this name cdk-nag knows the bucket in what another stack grants on it.
        self.bucket_export: str = self.resolve(self.export_value(self.bucket.bucket_arn))[
            "Fn::ImportValue"
        ]
