"""Builds by CodeBuild: a buildspec's commands in a shell, with the permissions of its role.

What they call, `aws` and `docker`, is this module as a program. With CONTAINERS images are built
by buildah, without a network; else a build looks for all that the Dockerfile copies.
"""

from __future__ import annotations

import base64
import glob
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "e2e"


def execute(build_id: str, project: Mapping[str, Any]) -> None:
    """Run a build to its end, in the place of MiniStack's own, which needs Docker."""
    from ministack.core.lambda_runtime import execution_credentials
    from ministack.services import codebuild

    build = codebuild._builds[build_id]
    # A session of the role is only given to functions.
    role = {
        "Role": project["serviceRole"],
        "FunctionArn": build["arn"]
        .replace(":codebuild:", ":lambda:")
        .replace("build/", "function:"),
        "FunctionName": project["name"],
    }
    given = {v["name"]: v["value"] for v in project["environment"]["environmentVariables"]}
    here = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        "AWS_REGION": os.environ["MINISTACK_REGION"],
        "AWS_DEFAULT_REGION": os.environ["MINISTACK_REGION"],
        "PYTHONPATH": str(ROOT / "tests"),
    }
    emit = codebuild._log_sink(build)
    build["buildStatus"] = "IN_PROGRESS"
    with (
        tempfile.TemporaryDirectory(prefix="codebuild-") as folder,
        subprocess.Popen(
            [sys.executable, "-m", "cloud.builds", "build", json.dumps(project["source"])],
            cwd=folder,
            env=os.environ | given | here | execution_credentials(role),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            emit(line.rstrip())
            if codebuild._stop_requested(build_id):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if codebuild._stop_requested(build_id):
        return
    status = "FAILED" if process.returncode else "SUCCEEDED"
    codebuild._record_phase(build, "BUILD", status)
    codebuild._finish_build(build, status)


def build(source: Mapping[str, Any]) -> None:
    """Get the source into this folder and run the commands; the first that fails ends it."""
    bucket, _, key = source["location"].partition("/")
    boto3.client("s3").download_file(bucket, key, "source.zip")
    with zipfile.ZipFile("source.zip") as archive:
        archive.extractall("source")
    programs = Path("programs").absolute()
    programs.mkdir()
    for name in ("aws", "docker"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cloud.builds {name} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    for command in json.loads(source["buildspec"])["phases"]["build"]["commands"]:
        print(f"[Container] Running command {command}", flush=True)  # noqa: T201
        done = subprocess.run(
            ["sh", "-c", command], cwd="source", env=os.environ | {"PATH": path}, check=False
        )
        if done.returncode:
            sys.exit(done.returncode)


def docker(*arguments: str) -> None:
    """Log in to a registry, build an image or push it into its repository."""
    match arguments:
        case ["login", "--username", "AWS", "--password-stdin", registry]:
            assert sys.stdin.read().strip() == _password()
            assert registry == os.environ["REGISTRY"]
        case ["build", "--file", file, *options, "--tag", image, "."]:
            _build_image(file, options, image)
        case ["push", image]:
            repository, _, tag = image.removeprefix(f"{os.environ['REGISTRY']}/").partition(":")
            boto3.client("ecr").put_image(
                repositoryName=repository,
                imageTag=tag,
                imageManifest=json.dumps({"schemaVersion": 2, "tag": tag}),
            )
        case _:
            sys.exit(f"docker: {shlex.join(arguments)}?")


def _build_image(file: str, options: list[str], image: str) -> None:
    if os.environ.get("CONTAINERS"):
        wheels = ["--volume", f"{OUT}/wheels:/wheels:ro"]
        wheels += ["--volume", f"{OUT}/pip.conf:/etc/pip.conf:ro"]
        command = ["buildah", "bud", "--quiet", "--layers", "--isolation", "chroot", *wheels]
        subprocess.run([*command, *options, "--file", file, "--tag", image, "."], check=True)
        return
    for line in Path(file).read_text().replace("\\\n", " ").splitlines():
        match line.split():
            case ["COPY", first, *others] if not first.startswith("--"):
                for pattern in [first, *others][:-1]:
                    assert glob.glob(pattern), f"{pattern} is not in the context"  # noqa: PTH207
    print(f"built {image} {shlex.join(options)}".rstrip())  # noqa: T201


def aws(*arguments: str) -> None:
    """Tell the password of the registry."""
    assert arguments == ("ecr", "get-login-password")
    print(_password())  # noqa: T201


def _password() -> str:
    (given,) = boto3.client("ecr").get_authorization_token()["authorizationData"]
    return base64.b64decode(given["authorizationToken"]).decode().partition(":")[2]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", source]:
            build(json.loads(source))
        case ["docker", *rest]:
            docker(*rest)
        case ["aws", *rest]:
            aws(*rest)
