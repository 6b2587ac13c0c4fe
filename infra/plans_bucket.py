"""The bucket that plans, manifests and books wait in."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.rules import accept

# DynamoDB may take some days to remove what has expired; its plan must not go first.
MARGIN_DAYS = 10


class PlansBucket(Construct):
    """Private, TLS only, encrypted with S3's own key; a run's files go some days after the run."""

    def __init__(self, scope: Construct, construct_id: str, keep_days: int) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(prefix="runs/", expiration=Duration.days(keep_days + MARGIN_DAYS)),
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1)),
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        assert self.bucket.policy
        # What is kept stays TLS only.
        self.bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)
        accept(
            self.bucket,
            ["S1"],
            "Nothing is kept here but plans, which can be made again from what was submitted; a log"
            " of who read them would need a second bucket.",
        )
