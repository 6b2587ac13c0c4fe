"""An AWS on this machine: MiniStack on loopback, its Lambda functions as real processes.

``python -m cloud.emulator`` serves at GATEWAY_PORT. CONTAINERS builds images and runs the functions
in containers of them; DYNAMODB_LOCAL keeps the items in AWS's own DynamoDB Local at that endpoint.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import builds, dynamodb_local
from .containers import Container
from .faults import Saboteur

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 30.0
REGION = "us-east-1"
MOST_PAYLOAD_BYTES = 262_144
LAST_MINUTE = 59


@contextmanager
def running(log: Path, **settings: str) -> Iterator[str]:
    """Serve in a process of its own; yield the endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"GATEWAY_PORT": str(port), "LOG_LEVEL": "WARNING"} | settings
    endpoint = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "cloud.emulator"],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdin=subprocess.PIPE,  # its end tells that this process is gone
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_S
            while not _answers(f"{endpoint}/_ministack/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the emulator does not start: {log.read_text()}")
                time.sleep(0.05)
            yield endpoint
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Serve until told to stop."""
    os.environ["BIND_HOST"] = "127.0.0.1"
    os.environ["MINISTACK_REGION"] = REGION
    from ministack import app
    from ministack.services import lambda_svc

    threading.Thread(target=stop_with_parent, daemon=True).start()
    saboteur = Saboteur(app.app)
    app.app = saboteur
    run_functions(saboteur)
    complete_state_machines()
    complete_schedules()
    run_builds()
    complete_repositories()
    complete_stacks()
    pass_for_tls()
    if endpoint := os.environ.get("DYNAMODB_LOCAL"):
        dynamodb_local.forward(endpoint)
    try:
        app.main()
    finally:
        lambda_svc._pool_clear_all()


def stop_with_parent() -> None:
    """Stop when who started this is gone, be it killed."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def run_functions(saboteur: Saboteur) -> None:
    """Give MiniStack's pool of Docker containers our own, where it wants to start one."""
    from ministack.core.lambda_runtime import execution_credentials
    from ministack.services import lambda_svc

    def spawn(config: dict[str, Any], *_: Any) -> tuple[Container, None]:
        environment = lambda_svc._runtime_env_vars(config) | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": config["Version"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(config["Timeout"]),
            **execution_credentials(config),
        }
        container = Container(
            config["ImageConfigResponse"]["ImageConfig"]["Command"][0],
            environment,
            image=config["ImageUri"] if os.environ.get("CONTAINERS") else None,
            memory_mb=int(config["MemorySize"]),
        )
        return container, None

    invoke, throttled = lambda_svc._invoke_rie, lambda_svc._throttle_response

    def sabotaged(container: Container, event: Any, *rest: Any) -> Any:
        return saboteur.invoke(container, event, lambda: invoke(container, event, *rest))

    def named(*given: Any, **more: Any) -> Any:
        answer = throttled(*given, **more)
        # What a state machine calls it; MiniStack's says Lambda.Unknown.
        answer["body"]["errorType"] = "Lambda.TooManyRequestsException"
        return answer

    lambda_svc._docker_available = True
    lambda_svc._get_docker_client = lambda: "a pool of processes"
    lambda_svc._spawn_lambda_container = spawn
    lambda_svc._invoke_rie = sabotaged
    lambda_svc._throttle_response = named


def complete_state_machines() -> None:
    """Add what MiniStack's state machines lack.

    A Distributed Map heeds MaxConcurrencyPath; no child of a stopped execution starts; what a
    state gets and gives has at most 256 KiB.
    """
    from ministack.services import stepfunctions

    run_map, run_child = stepfunctions._run_distributed_map, stepfunctions._run_sub_machine
    select, call = stepfunctions._apply_result_selector, stepfunctions._call_lambda

    def run_map_at(state: Any, raw: Any, effective: Any, iterator: Any, run: Any, ctx: Any) -> Any:
        if path := state.get("MaxConcurrencyPath"):
            most = stepfunctions._resolve_path_or_ctx(path, effective, ctx)
            state = state | {"MaxConcurrency": most}
        return run_map(state, raw, effective, iterator, run, ctx)

    def run_child_unless_stopped(states: Any, start: Any, given: Any, child: Any, ctx: Any) -> Any:
        if stepfunctions._executions[ctx["Execution"]["Id"]]["status"] != "RUNNING":
            raise stepfunctions._ExecutionError("States.Aborted", "the execution was stopped")
        return run_child(states, start, given, child, ctx)

    def small(payload: Any) -> Any:
        if len(json.dumps(payload, separators=(",", ":")).encode()) > MOST_PAYLOAD_BYTES:
            raise stepfunctions._ExecutionError(
                "States.DataLimitExceeded", "The state returned a result over the size limit."
            )
        return payload

    stepfunctions._run_distributed_map = run_map_at
    stepfunctions._run_sub_machine = run_child_unless_stopped
    stepfunctions._apply_result_selector = lambda state, result: select(state, small(result))
    stepfunctions._call_lambda = lambda function, event: call(function, small(event))


def complete_schedules() -> None:
    """Add what MiniStack's schedules lack: what they refuse, the time that they fire for, haste."""
    from ministack.services import eventbridge, scheduler

    invoke = eventbridge._invoke_target
    create, update = scheduler._create_schedule, scheduler._update_schedule

    def refused(body: Any) -> Any:
        minute = re.match(r"cron\((\d+) ", body["ScheduleExpression"])
        if minute and int(minute[1]) > LAST_MINUTE:
            said = f"Invalid Schedule Expression {body['ScheduleExpression']}."
            return scheduler._error(400, "ValidationException", said)
        return None

    scheduler._create_schedule = lambda name, body: refused(body) or create(name, body)
    scheduler._update_schedule = lambda name, body: refused(body) or update(name, body)

    def invoke_as_of(target: Any, event: Any, *rest: Any) -> Any:
        if event.get("Source") == "aws.scheduler":
            fired = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            given = target.get("Input", "").replace("<aws.scheduler.scheduled-time>", fired)
            target = target | {"Input": given}
        return invoke(target, event, *rest)

    eventbridge._invoke_target = invoke_as_of
    scheduler._SCHEDULE_TICK_INTERVAL = 0.2


def run_builds() -> None:
    """Let CodeBuild really run its builds."""
    from ministack.services import codebuild

    codebuild.EXECUTE_BUILDS = True
    codebuild._get_docker = lambda: None
    codebuild._execute_build = builds.execute


def complete_repositories() -> None:
    """Add what MiniStack's repositories lack.

    An image that is not there is an error; a permission to describe a repository is enough.
    """
    from ministack.core import iam_actions
    from ministack.core.responses import error_response_json
    from ministack.services import ecr

    describe, resource = ecr._describe_images, iam_actions.extract_resource_arn

    def describe_or_miss(asked: dict[str, Any]) -> Any:
        for image in asked.get("imageIds", ()):
            if not ecr._find_image(asked["repositoryName"], image):
                return error_response_json("ImageNotFoundException", f"{image}: not found", 400)
        return describe(asked)

    def resource_of(service: str, *request: Any) -> Any:
        body = request[3]
        if service == "ecr" and b"repositoryNames" in body:
            (name,) = json.loads(body)["repositoryNames"]
            return f"arn:aws:ecr:{REGION}:000000000000:repository/{name}"
        return resource(service, *request)

    ecr._describe_images = describe_or_miss
    iam_actions.extract_resource_arn = resource_of


def complete_stacks() -> None:
    """Give stacks that change sets have made the description of their template."""
    from ministack.services import cloudformation
    from ministack.services.cloudformation import handlers

    describe = handlers._ACTION_HANDLERS["DescribeStacks"]

    def describe_whole(asked: dict[str, Any]) -> Any:
        for stack in cloudformation._stacks.values():
            stack["Description"] = stack.get("_template", {}).get("Description", "")
        return describe(asked)

    handlers._ACTION_HANDLERS["DescribeStacks"] = describe_whole


def pass_for_tls() -> None:
    """Let requests pass for TLS, which policies ask for; on loopback there is none."""
    from ministack import app

    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _: pin(source_ip, True)


if __name__ == "__main__":
    main()
