"""The stack that prices; it holds no state and can be made anew at any time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs

import pricer
from infra.alarms import Alarms
from infra.dashboard import Dashboard
from infra.rules import accept
from infra.run_machine import EXECUTIONS, RunMachine
from infra.schedules import Schedules
from infra.web_function import WebFunction
from infra.worker_function import MEMORY_MB, WorkerFunction
from infra.worker_image import WorkerImage
from pricer.compiled import TARGETS, kernel_version

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings
    from infra.storage import StorageStack

# As long as a run is kept by default: its log says what it cost.
RETENTION = logs.RetentionDays.THREE_MONTHS
# Of any run, and of any schedule.
FILES, MANIFEST, SCHEDULED = "runs/*", "runs/*/manifest.json", "schedules/*"
# What the function that starts runs must not know of itself: it would have to be made first.
OF_SCHEDULES = ("StartFunctionArn", "ScheduleGroupName", "ScheduleRoleArn")


class ServiceStack(Stack):
    """Five functions of one image, the state machine that calls three, and what watches them."""

    def __init__(self, scope: Construct, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, settings.name, description="pricer: prices runs")
        table, bucket = storage.table, storage.bucket
        log_group = logs.LogGroup(
            self, "Log", retention=RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        image = self.image = WorkerImage(self, "Image", settings)

        def stored(name: str) -> dict[str, str]:
            """Return what a function is told of what it is called, and where runs are."""
            return {
                "TABLE_NAME": table.table_name,
                "BUCKET_NAME": bucket.bucket_name,
                "POWERTOOLS_SERVICE_NAME": name,
            }

        def function(name: str, **environment: str) -> WorkerFunction:
            return WorkerFunction(
                self,
                name.capitalize(),
                handler=f"pricer.handler.{name}",
                image=image,
                architecture=settings.architecture,
                environment={
                    **stored(name),
                    "POWERTOOLS_METRICS_NAMESPACE": self.stack_name,
                    **environment,
                },
                log_group=log_group,
            )

        plan, price, finish = function("plan"), function("price"), function("finish")
        web = WebFunction(
            self,
            "Web",
            image=image,
            architecture=settings.architecture,
            environment=stored("web"),
            log_group=log_group,
        )

        files, manifests = bucket.arn_for_objects(FILES), bucket.arn_for_objects(MANIFEST)
        for reader in (plan, price, finish, web):
            reader.allow(["s3:GetObject"], files)
            # Without it, S3 answers that a file that is not there may not be read.
            reader.allow(["s3:ListBucket"], bucket.bucket_arn)
        plan.allow(["s3:PutObject"], manifests)
        plan.allow(_dynamodb("GetItem", "Query", "BatchWriteItem"), table.table_arn)
        price.allow(
            _dynamodb("GetItem", "BatchGetItem", "PutItem", "BatchWriteItem"), table.table_arn
        )
        finish.allow(_dynamodb("GetItem", "Query", "PutItem"), table.table_arn)
        web.allow(_dynamodb("GetItem", "BatchGetItem", "Query"), table.table_arn)

        run_machine = RunMachine(
            self,
            "Run",
            plan=plan,
            price=price,
            finish=finish,
            table=table,
            bucket=bucket,
            keep_days=settings.keep_days,
            retention=RETENTION,
        )
        machine = run_machine.machine
        outputs = {
            "TableName": table.table_name,
            "BucketName": bucket.bucket_name,
            "StateMachineArn": machine.state_machine_arn,
            "PlanFunctionName": plan.function.function_name,
            "PriceFunctionName": price.function.function_name,
            "FinishFunctionName": finish.function.function_name,
            "WebFunctionName": web.function.function_name,
            "WebUrl": web.url.url,
            "LogGroupName": log_group.log_group_name,
            "KernelVersion": kernel_version(TARGETS[settings.architecture]),
            "Version": pricer.__version__,
            "Architecture": settings.architecture,
            "MemoryMb": str(MEMORY_MB),
            "KeepDays": str(settings.keep_days),
            "Choices": json.dumps(settings.choices()),
        }
        known = self.to_json_string(outputs | dict.fromkeys(OF_SCHEDULES, ""))
        start = function("start", STACK_NAME=self.stack_name, OUTPUTS=known)
        start.allow(["s3:GetObject"], bucket.arn_for_objects(SCHEDULED))
        start.allow(["s3:GetObject", "s3:PutObject"], files)
        start.allow(["s3:ListBucket"], bucket.bucket_arn)
        start.allow(
            _dynamodb(
                "GetItem", "Query", "PutItem", "UpdateItem", "BatchWriteItem", "DescribeTable"
            ),
            table.table_arn,
        )
        start.allow(["states:StartExecution"], machine.state_machine_arn)
        start.allow(["lambda:GetAccountSettings"], "*")
        # Whether a run is going is what its execution says, which is named by the run.
        for asks in (start, web):
            asks.allow(["states:DescribeExecution"], run_machine.executions)
            accept(
                asks.role,
                [f"IAM5[Resource::{EXECUTIONS.format(f'{settings.name}:*')}]"],
                "An execution's name is known when it starts.",
            )
        schedules = Schedules(self, "Schedules", start=start)
        for role, names in {
            plan.role: [FILES, MANIFEST],
            start.role: [FILES, SCHEDULED],
            price.role: [FILES],
            finish.role: [FILES],
            web.role: [FILES],
            run_machine.role: [MANIFEST],
        }.items():
            accept(
                role,
                [f"IAM5[Resource::{storage.bucket_export}/{name}]" for name in names],
                "A run's files lie under its id, which is known when it is submitted; a schedule's"
                " under its name.",
            )
        alarms = Alarms(
            self,
            "Alarms",
            machine=machine,
            price=price.function,
            start=start.function,
            log_group=log_group,
        )
        Dashboard(
            self,
            "Dashboard",
            alarms=alarms.all,
            machine=machine,
            price=price.function,
            table=table,
        )
        outputs |= {
            "StartFunctionArn": start.function.function_arn,
            "ScheduleGroupName": self.stack_name,
            "ScheduleRoleArn": schedules.role.role_arn,
        }
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _dynamodb(*operations: str) -> list[str]:
    return [f"dynamodb:{operation}" for operation in operations]
