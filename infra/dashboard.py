"""One page that shows how runs are going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_stepfunctions as sfn

PERIOD = Duration.minutes(1)


class Dashboard(Construct):
    """Alarms, runs, workers, what they say of themselves, and the table's writes."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        alarms: Sequence[cloudwatch.Alarm],
        machine: sfn.StateMachine,
        price: lambda_.Function,
        table: dynamodb.ITableV2,
    ) -> None:
        super().__init__(scope, construct_id)

        def said(name: str, statistic: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace=Stack.of(self).stack_name,
                metric_name=name,
                dimensions_map={"service": "price"},
                statistic=statistic,
                period=PERIOD,
            )

        board = cloudwatch.Dashboard(self, "Board", default_interval=Duration.hours(3))
        board.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=24))
        board.add_widgets(
            _graph(
                "Runs",
                machine.metric_started(period=PERIOD),
                machine.metric_succeeded(period=PERIOD),
                machine.metric_failed(period=PERIOD),
            ),
            _graph(
                "Workers",
                price.metric("ConcurrentExecutions", period=PERIOD, statistic="Maximum"),
                price.metric_throttles(period=PERIOD),
                price.metric_errors(period=PERIOD),
            ),
        )
        board.add_widgets(
            _graph(
                "Cells a second of kernel time",
                said("CellsPerSecond", "p50"),
                said("CellsPerSecond", "Minimum"),
            ),
            _graph(
                "Cold starts and kernel seconds",
                said("ColdStarts", "Sum"),
                said("KernelSeconds", "Sum"),
            ),
        )
        board.add_widgets(
            _graph(
                "Time of a chunk",
                price.metric_duration(period=PERIOD, statistic="p50"),
                price.metric_duration(period=PERIOD, statistic="Maximum"),
            ),
            _graph(
                "Table",
                table.metric_consumed_write_capacity_units(period=PERIOD),
                said("WriteUnits", "Sum"),
                table.metric("WriteThrottleEvents", period=PERIOD, statistic="Sum"),
            ),
        )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=12)
