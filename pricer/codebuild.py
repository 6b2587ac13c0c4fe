"""Builds the image on AWS, by the CodeBuild project of a stack NAME-build, and shows its log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from . import aws
from .errors import AwsError, DeployError

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL_S = 3.0
RUNNING, SUCCEEDED = "IN_PROGRESS", "SUCCEEDED"


def build_image(project: Mapping[str, str], region: str) -> None:
    """Build the image unless it is there; an interrupt stops the build.

    `project` are the outputs of the stack that has it: ProjectName, RepositoryName, ImageTag.
    """
    if _is_there(project["RepositoryName"], project["ImageTag"], region):
        _say("the image is there already")
        return
    client = aws.client("codebuild", region=region)
    with aws.explained(f"project {project['ProjectName']}"):
        build = client.start_build(projectName=project["ProjectName"])["build"]
        _say(f"CodeBuild builds the image: {build['id']}")
        try:
            build = _follow(client, build["id"], region)
        except KeyboardInterrupt:
            client.stop_build(id=build["id"])
            raise KeyboardInterrupt("the build is stopped, and nothing is deployed.") from None
    if build["buildStatus"] == SUCCEEDED:
        return
    # No tag is given twice: of those who build one image at once, all but the first fail.
    if not _is_there(project["RepositoryName"], project["ImageTag"], region):
        raise DeployError(_why(build))
    _say("the image is there all the same: another build was first")


def _is_there(repository: str, tag: str, region: str) -> bool:
    try:
        with aws.explained(f"repository {repository}"):
            aws.client("ecr", region=region).describe_images(
                repositoryName=repository, imageIds=[{"imageTag": tag}]
            )
    except AwsError as error:
        if aws.error_code(error) != "ImageNotFoundException":
            raise
        return False
    return True


def _follow(client: Any, build_id: str, region: str) -> dict[str, Any]:
    """Show the log of a build as it is written; return the build once it has ended."""
    log = _Log(region)
    told = False
    while True:
        try:
            with aws.explained(f"build {build_id}, which goes on"):
                build: dict[str, Any] = client.batch_get_builds(ids=[build_id])["builds"][0]
        except AwsError as error:
            if not aws.passes(error):
                raise
            if not told:
                _say(f"{error}; trying again")
            told = True
        else:
            log.show(build.get("logs", {}))
            if build["buildStatus"] == SUCCEEDED:
                return build
            if build["buildStatus"] != RUNNING:
                # What says why comes into the log some seconds late.
                time.sleep(POLL_S)
                log.show(build.get("logs", {}))
                return build
        time.sleep(POLL_S)


class _Log:
    """Shows each line of a log once. A build goes on whether its log can be read or not."""

    def __init__(self, region: str) -> None:
        self.client = aws.client("logs", region=region)
        self.place: dict[str, str] = {}
        self.told = False

    def show(self, where: Mapping[str, str]) -> None:
        """Show what has come since the last time; `where` is empty until there is a log."""
        if "streamName" not in where:
            return
        try:
            with aws.explained("the log of the build"):
                self._show(where)
        except AwsError as error:
            # A stream is named before it is made.
            if not self.told and aws.error_code(error) != "ResourceNotFoundException":
                _say(f"{error}; the build goes on")
                self.told = True

    def _show(self, where: Mapping[str, str]) -> None:
        while True:
            found = self.client.get_log_events(
                logGroupName=where["groupName"],
                logStreamName=where["streamName"],
                startFromHead=True,
                **self.place,
            )
            for event in found["events"]:
                _say(event["message"].rstrip())
            # At the end of what is there, the token stays the same.
            if found["nextForwardToken"] == self.place.get("nextToken"):
                return
            self.place = {"nextToken": found["nextForwardToken"]}


def _why(build: Mapping[str, Any]) -> str:
    """Return what became of a build that did not succeed, where, and why."""
    ended = f"build {build['id']}: {build['buildStatus'].lower().replace('_', ' ')}"
    for phase in build.get("phases", ()):
        if phase.get("phaseStatus", SUCCEEDED) != SUCCEEDED:
            reasons = [each["message"] for each in phase.get("contexts", ()) if each.get("message")]
            ended += f" in phase {phase['phaseType']}{''.join(f': {r}' for r in reasons)}"
            break
    link = build.get("logs", {}).get("deepLink")
    return f"{ended}; what is above says why{f', or {link}' if link else ''}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
