"""What starts runs by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

if TYPE_CHECKING:
    from infra.worker_function import WorkerFunction


class Schedules(Construct):
    """A group for the schedules that the command line makes, and what they may: call `start`.

    The group goes with its stack, and every schedule in it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, start: WorkerFunction) -> None:
        super().__init__(scope, construct_id)
        # Named by the stack: a schedule's ARN has its group's name, and the role trusts no other.
        name = Stack.of(self).stack_name
        self.group = scheduler.CfnScheduleGroup(self, "Group", name=name)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": Aws.ACCOUNT_ID,
                        "aws:SourceArn": self.group.attr_arn,
                    }
                },
            ),
        )
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[start.function.function_arn]
            )
        )
