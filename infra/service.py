"""The stack that prices; it holds no state and can be made anew at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs

import pricer
from infra.alarms import Alarms
from infra.dashboard import Dashboard
from infra.rules import accept
from infra.run_machine import EXECUTIONS, RunMachine
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
# Of any run.
FILES, MANIFEST = "runs/*", "runs/*/manifest.json"


class ServiceStack(Stack):
    """Four functions of one image, the state machine that calls three, and what watches them."""

    def __init__(self, scope: Construct, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, settings.name, description="pricer: prices runs")
        table, bucket = storage.table, storage.bucket
        log_group = logs.LogGroup(
            self, "Log", retention=RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        image = WorkerImage(self, "Image", settings)

        environment = {"TABLE_NAME": table.table_name, "BUCKET_NAME": bucket.bucket_name}

        def function(name: str) -> WorkerFunction:
            return WorkerFunction(
                self,
                name.capitalize(),
                handler=f"pricer.handler.{name}",
                image=image,
                architecture=settings.architecture,
                environment=environment,
                log_group=log_group,
            )

        plan, price, finish = function("plan"), function("price"), function("finish")
        web = WebFunction(
            self,
            "Web",
            image=image,
            architecture=settings.architecture,
            environment=environment,
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
        # Whether a run is going is what its execution says.
        web.allow(["states:DescribeExecution"], run_machine.executions)
        accept(
            web.role,
            [f"IAM5[Resource::{EXECUTIONS.format(f'{settings.name}:*')}]"],
            "An execution's name is known when it starts.",
        )
        for role, names in {
            plan.role: [FILES, MANIFEST],
            price.role: [FILES],
            finish.role: [FILES],
            web.role: [FILES],
            run_machine.role: [MANIFEST],
        }.items():
            accept(
                role,
                [f"IAM5[Resource::{storage.bucket_export}/{name}]" for name in names],
                "A run's files lie under its id, which is known when it is submitted.",
            )
        alarms = Alarms(self, "Alarms", machine=machine, price=price.function, log_group=log_group)
        Dashboard(
            self,
            "Dashboard",
            alarms=alarms.all,
            machine=machine,
            price=price.function,
            table=table,
        )
        for name, value in {
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
        }.items():
            CfnOutput(self, name, value=value)


def _dynamodb(*operations: str) -> list[str]:
    return [f"dynamodb:{operation}" for operation in operations]
