"""The state machine that prices a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.definition import LABEL, definition
from infra.rules import accept
from infra.worker_function import TIMEOUT_S

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_s3 as s3

    from infra.worker_function import WorkerFunction

# What a failure's item is made of: no other item of a run can be written with these.
FAILURE = ["pk", "sk", "error", "cause", "at", "expires", "first", "end"]
# As cdk-nag spells the ARN of executions.
EXECUTIONS = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:{}"


class RunMachine(Construct):
    """Plans, prices and finishes; may call the three functions and write why one failed."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        plan: WorkerFunction,
        price: WorkerFunction,
        finish: WorkerFunction,
        table: dynamodb.ITableV2,
        bucket: s3.IBucket,
        keep_days: int,
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        # Its role names the machine's executions, so the machine's name must be known before it is.
        name = stack.stack_name
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        functions = [f.function.function_arn for f in (plan, price, finish)]
        self._allow(["lambda:InvokeFunction"], functions)
        self._allow(["s3:GetObject"], [bucket.arn_for_objects("runs/*/manifest.json")])
        self._allow(
            ["dynamodb:PutItem"],
            [table.table_arn],
            {"ForAllValues:StringEquals": {"dynamodb:Attributes": FAILURE}},
        )
        self._allow(["states:StartExecution"], [_arn(stack, "stateMachine", name)])
        executions = [f"{name}:*", f"{name}/{LABEL}:*"]
        self._allow(
            ["states:DescribeExecution", "states:StopExecution"],
            [_arn(stack, "execution", execution) for execution in executions],
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(
                json.dumps(definition(keep_days, TIMEOUT_S))
            ),
            definition_substitutions={
                "PlanFunction": plan.function.function_arn,
                "PriceFunction": price.function.function_arn,
                "FinishFunction": finish.function.function_arn,
                "Table": table.table_name,
                "Bucket": bucket.bucket_name,
            },
            role=self.role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=logs.LogGroup(
                    self,
                    "Log",
                    # Under this prefix no resource policy is needed, whose size is limited.
                    log_group_name=f"/aws/vendedlogs/states/{name}",
                    retention=retention,
                    removal_policy=RemovalPolicy.DESTROY,
                ),
                level=sfn.LogLevel.ERROR,
            ),
        )
        self.executions = _arn(stack, "execution", executions[0])
        accept(
            self.role,
            [f"IAM5[Resource::{EXECUTIONS.format(execution)}]" for execution in executions],
            "A Distributed Map starts, describes and stops this machine's own executions, whose"
            " names are made when it does.",
        )
        accept(
            self.role,
            ["IAM5[Resource::*]"],
            "X-Ray's and log delivery's actions name no resource, and nothing else here is on all"
            " resources.",
        )
        accept(
            self.machine,
            ["SF1"],
            "Every chunk is an execution: logging all their events would cost more than they do."
            " Errors are logged, and Step Functions keeps each history for 90 days.",
        )

    def _allow(
        self,
        actions: list[str],
        resources: list[str],
        conditions: dict[str, dict[str, list[str]]] | None = None,
    ) -> None:
        self.role.add_to_policy(
            iam.PolicyStatement(actions=actions, resources=resources, conditions=conditions)
        )


def _arn(stack: Stack, resource: str, name: str) -> str:
    arn: str = stack.format_arn(
        service="states",
        resource=resource,
        resource_name=name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    return arn
