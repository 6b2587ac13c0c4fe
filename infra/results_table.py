"""The table that runs live in."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct


class ResultsTable(Construct):
    """Heads, markers and blocks; outlives its stack, and can be set back to any second of 35 days.

    DynamoDB encrypts with the key that it owns. A key of one's own would cost a request to KMS
    where this costs nothing, and keep nobody out whom the table's permissions let in.
    """

    def __init__(self, scope: Construct, construct_id: str, warm_write_units: int) -> None:
        super().__init__(scope, construct_id)
        warm = None
        if warm_write_units:
            warm = dynamodb.WarmThroughput(write_units_per_second=warm_write_units)
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
            warm_throughput=warm,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
