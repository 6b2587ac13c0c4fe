"""A function of the worker's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.rules import accept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_logs as logs

    from infra.worker_image import WorkerImage

# One vCPU, which one thread fills. Planning and finishing take two calls a run: what they need not,
# costs next to nothing.
MEMORY_MB = 1769
TIMEOUT_S = 600


class WorkerFunction(Construct):
    """Calls one handler; may write its log and its trace, and what is granted beside it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        handler: str,
        image: WorkerImage,
        architecture: str,
        environment: Mapping[str, str],
        log_group: logs.LogGroup,
        timeout_s: int = TIMEOUT_S,
    ) -> None:
        super().__init__(scope, construct_id)
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        self.function = lambda_.DockerImageFunction(
            self,
            "Function",
            code=lambda_.DockerImageCode.from_ecr(
                image.repository, tag_or_digest=image.image_tag, cmd=[handler]
            ),
            architecture=lambda_.Architecture.custom(architecture),
            role=self.role,
            memory_size=MEMORY_MB,
            timeout=Duration.seconds(timeout_s),
            environment=environment,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
        )
        accept(
            self.role,
            ["IAM5[Resource::*]"],
            "X-Ray's actions, and asking for the account's limits, name no resource; nothing else"
            " here is on all resources.",
        )

    def allow(self, actions: list[str], resource: str) -> None:
        """Let the function do this, on this."""
        self.role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
