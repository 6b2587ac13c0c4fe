"""The stack that builds the image on AWS, for a machine without Docker."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from aws_cdk import Aws, CfnOutput, Duration, IgnoreMode, RemovalPolicy, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets

from infra.rules import accept
from infra.worker_image import DOCKERFILE, ROOT, not_copied

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings
    from infra.worker_image import WorkerImage

TIMEOUT_MIN = 60
QUEUED_MIN = 30
PUSH = (
    "BatchCheckLayerAvailability",
    "BatchGetImage",
    "CompleteLayerUpload",
    "InitiateLayerUpload",
    "PutImage",
    "UploadLayerPart",
)


class BuildStack(Stack):
    """A CodeBuild project that puts `image` where the CDK would, under the tag it would have.

    The CDK builds no image that is there already, so that who builds it makes no difference to the
    stack that runs it.
    """

    def __init__(self, scope: Construct, settings: Settings, image: WorkerImage) -> None:
        super().__init__(
            scope, f"{settings.name}-build", description="pricer: builds the image of its functions"
        )
        context = assets.Asset(
            self, "Context", path=str(ROOT), exclude=not_copied(), ignore_mode=IgnoreMode.DOCKER
        )
        repository = ecr.Repository.from_repository_name(
            self, "Repository", image.repository.repository_name
        )
        log_group = logs.LogGroup(
            self,
            "Log",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com"))
        for actions, resource in (
            (
                ["s3:GetObject", "s3:GetObjectVersion"],
                context.bucket.arn_for_objects(context.s3_object_key),
            ),
            (["s3:GetBucketAcl", "s3:GetBucketLocation"], context.bucket.bucket_arn),
            ([f"ecr:{action}" for action in PUSH], repository.repository_arn),
            (["ecr:GetAuthorizationToken"], "*"),
            (["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
        accept(role, ["IAM5[Resource::*]"], "A token for the registry is of no repository.")
        arm = settings.architecture == "arm64"
        project = codebuild.Project(
            self,
            "Project",
            # The CDK would grant by wildcards what is granted above.
            role=role.without_policy_updates(),
            source=codebuild.Source.s3(bucket=context.bucket, path=context.s3_object_key),
            environment=codebuild.BuildEnvironment(
                build_image=(
                    codebuild.LinuxArmBuildImage.AMAZON_LINUX_2023_STANDARD_3_0
                    if arm
                    else codebuild.LinuxBuildImage.AMAZON_LINUX_2023_5
                ),
                compute_type=codebuild.ComputeType.MEDIUM,
                privileged=True,
            ),
            environment_variables={
                name: codebuild.BuildEnvironmentVariable(value=value)
                for name, value in {
                    "IMAGE": f"{repository.repository_uri}:{image.image_tag}",
                    "REGISTRY": f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}",
                    # Lambda takes an image, not the index of several that Docker else pushes.
                    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
                }.items()
            },
            build_spec=codebuild.BuildSpec.from_object(
                {"version": "0.2", "phases": {"build": {"commands": _commands(settings)}}}
            ),
            timeout=Duration.minutes(TIMEOUT_MIN),
            queued_timeout=Duration.minutes(QUEUED_MIN),
            grant_report_group_permissions=False,
            logging=codebuild.LoggingOptions(
                cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group)
            ),
        )
        accept(project, ["CB4"], "What is built goes to the repository; it has no artifacts.")
        for name, value in {
            "ProjectName": project.project_name,
            "RepositoryName": repository.repository_name,
            "ImageTag": image.image_tag,
        }.items():
            CfnOutput(self, name, value=value)


def _commands(settings: Settings) -> list[str]:
    """Return what builds the image and puts it into its repository; the first to fail ends it."""
    base = ["--build-arg", f"BASE_IMAGE={settings.base_image}"] if settings.base_image else []
    build = ["docker", "build", "--file", DOCKERFILE, *base]
    return [
        'aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"',
        f'{shlex.join(build)} --tag "$IMAGE" .',
        'docker push "$IMAGE"',
    ]
