"""What somebody should look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_stepfunctions as sfn

PERIOD = Duration.minutes(5)


class Alarms(Construct):
    """Five alarms. A plan or a finish that fails is a failed execution, so neither has its own.

    Nor has what answers over HTTP: whoever asks sees that it fails.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.StateMachine,
        price: lambda_.Function,
        start: lambda_.Function,
        log_group: logs.LogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        # Without a default value: a metric that nothing is counted in costs nothing.
        not_compiled = logs.MetricFilter(
            self,
            "KernelErrors",
            log_group=log_group,
            filter_pattern=logs.FilterPattern.any_term("KernelError"),
            metric_namespace=Stack.of(self).stack_name,
            metric_name="KernelErrors",
            metric_value="1",
        )
        self.all = [
            self._alarm(
                "FailedRuns",
                machine.metric_failed(period=PERIOD),
                "A run failed or is incomplete: `pricer status RUN --on aws` says why,"
                " `pricer resume RUN --on aws` prices what is missing.",
            ),
            self._alarm(
                "Throttles",
                price.metric_throttles(period=PERIOD),
                "Workers were refused: more chunks at once than the account's Lambda quota has"
                " room for.",
            ),
            self._alarm(
                "Errors",
                price.metric_errors(period=PERIOD),
                "Workers failed or timed out: `pricer tail` says why; chunks are tried again.",
            ),
            self._alarm(
                "FailedSchedules",
                start.metric_errors(period=PERIOD),
                "A schedule fired and no run was started: `pricer tail` says why. It is tried"
                " twice more.",
            ),
            self._alarm(
                "KernelMisses",
                not_compiled.metric(period=PERIOD, statistic="Sum"),
                "The image lacks a compiled kernel that a plan needs: deploy this version again.",
            ),
        ]

    def _alarm(
        self, construct_id: str, metric: cloudwatch.IMetric, description: str
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            construct_id,
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=(cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        )
