"""What the tests in the cloud take for granted of the AWS on this machine."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from cloud.deploy import create_stack
from cloud.faults import happened, inject
from pricer.aws import client, error_code

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = "probe"
# The emulator of AWS counts a cold start, which takes a second where two cores are busy.
TIMEOUT_S = 4
LOGS = "/probe"
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"RoleName": "probe", "AssumeRolePolicyDocument": {"Statement": []}},
}
CALL = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "OutputPath": "$.Payload"}


def function(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "PackageType": "Image",
            "Code": {"ImageUri": "probe:latest"},
            "ImageConfig": {"Command": ["tests.cloud.probe.handler"]},
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "MemorySize": 1769,
            "Timeout": TIMEOUT_S,
            "LoggingConfig": {"LogGroup": LOGS},
        }
        | properties,
    }


def state_machine(states: dict[str, Any], start: str) -> dict[str, Any]:
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "DefinitionString": json.dumps({"StartAt": start, "States": states}),
        },
    }


CAUGHT = ["Runtime.ExitError", "Lambda.TooManyRequestsException"]
EACH = {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "Call",
    "States": {
        "Call": CALL
        | {
            "Parameters": {"FunctionName": PROBE, "Payload.$": "$"},
            "Retry": [{"ErrorEquals": ["ValueError"], "MaxAttempts": 2}],
            "Catch": [{"ErrorEquals": CAUGHT, "Next": "Note", "ResultPath": "$.e"}],
            "End": True,
        },
        "Note": {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:putItem",
            "Parameters": {
                "TableName": PROBE,
                "Item": {"pk": {"S": "noted"}, "error": {"S.$": "$.e.Error"}},
            },
            "ResultPath": None,
            "End": True,
        },
    },
}
ALL = {
    "Type": "Map",
    "ItemReader": {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
    },
    "ItemProcessor": EACH,
    "MaxConcurrencyPath": "$.concurrency",
    "ToleratedFailurePercentage": 100,
    "End": True,
}
TEMPLATE = {
    "Resources": {
        "Role": ROLE,
        "Probe": function(PROBE),
        "Map": state_machine({"All": ALL}, "All"),
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": PROBE,
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            },
        },
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": PROBE}},
    },
    "Outputs": {
        "Map": {"Value": {"Ref": "Map"}},
        "Probe": {"Value": {"Fn::GetAtt": ["Probe", "Arn"]}},
    },
}


@pytest.fixture(scope="module")
def stack(emulator: str) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", emulator)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        return create_stack("Probe", TEMPLATE)


@pytest.fixture(autouse=True)
def _probe(aws: str, stack: dict[str, str]) -> Iterator[None]:
    yield
    inject(aws)


def invoke(**event: Any) -> tuple[dict[str, Any], str]:
    """Return what a function answers, and ``Unhandled`` if that is an error."""
    answer = client("lambda").invoke(FunctionName=PROBE, Payload=json.dumps(event).encode())
    return json.load(answer["Payload"]), answer.get("FunctionError", "")


def run_map(
    stack: dict[str, str], items: list[dict[str, Any]], concurrency: int = 2, *, stop: bool = False
) -> dict[str, Any]:
    """Return what an execution came to, its output decoded."""
    client("s3").put_object(Bucket=PROBE, Key="items", Body=json.dumps(items).encode())
    given = {"bucket": PROBE, "key": "items", "concurrency": concurrency}
    execution = client("stepfunctions").start_execution(
        stateMachineArn=stack["Map"], input=json.dumps(given)
    )["executionArn"]
    if stop:
        time.sleep(0.4)
        client("stepfunctions").stop_execution(executionArn=execution)
    while True:
        shown = client("stepfunctions").describe_execution(executionArn=execution)
        if shown["status"] != "RUNNING":
            shown["output"] = json.loads(shown.get("output") or "null")
            return dict(shown)
        time.sleep(0.02)


def test_a_function_is_a_process_that_stays_warm() -> None:
    first, error = invoke()
    assert not error
    again = invoke()[0]
    assert again["pid"] == first["pid"]
    assert again["request"] != first["request"]
    assert TIMEOUT_S - 1 < again["left_ms"] / 1_000 <= TIMEOUT_S


def test_what_a_handler_raises_is_its_error_type() -> None:
    answer, error = invoke(**{"raise": "no"})
    assert (error, answer["errorType"], answer["errorMessage"]) == ("Unhandled", "ValueError", "no")


def test_a_handler_that_takes_too_long_is_killed() -> None:
    before = invoke()[0]["pid"]
    answer, error = invoke(sleep_s=60)
    assert (error, answer["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert invoke()[0]["pid"] != before


def test_a_process_that_dies_is_an_error_and_is_started_anew() -> None:
    answer, error = invoke(exit=3)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert not invoke()[1]


def test_functions_run_at_once_up_to_the_quota_and_are_refused_beyond() -> None:
    limit = client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    assert limit == 2
    once = client("lambda").meta.config.merge(Config(retries={"total_max_attempts": 1}))
    lambdas = boto3.client("lambda", config=once)
    event = {"FunctionName": PROBE, "Payload": b'{"sleep_s": 1}'}
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(lambdas.invoke, **event) for _ in range(3)]
    (refused,) = [call.exception() for call in calls if call.exception()]
    assert error_code(refused) == "TooManyRequestsException"


def test_each_invocation_has_one_report_in_the_functions_log_group() -> None:
    request = invoke()[0]["request"]
    lines = [
        event["message"]
        for event in client("logs").filter_log_events(logGroupName=LOGS)["events"]
        if request in event["message"] or "asked for" in event["message"]
    ]
    assert "asked for []" in lines
    (report,) = [line for line in lines if line.startswith(f"REPORT RequestId: {request}")]
    assert "Billed Duration: " in report
    assert "Memory Size: 1769 MB" in report


def test_a_distributed_map_retries_and_catches_by_error_type(stack: dict[str, str]) -> None:
    run = run_map(stack, [{}, {"raise": "x"}, {"exit": 1}, {"sleep_s": 0.1}])
    assert run["status"] == "SUCCEEDED"
    fine, raised, noted, slow = run["output"]
    assert fine["request"] != slow["request"]
    assert raised is None
    assert noted["e"]["Error"] == "Runtime.ExitError"
    item = client("dynamodb").get_item(TableName=PROBE, Key={"pk": {"S": "noted"}})["Item"]
    assert item["error"] == {"S": "Runtime.ExitError"}
    (map_run,) = client("stepfunctions").list_map_runs(executionArn=run["executionArn"])["mapRuns"]
    counts = client("stepfunctions").describe_map_run(mapRunArn=map_run["mapRunArn"])["itemCounts"]
    assert (counts["succeeded"], counts["failed"]) == (3, 1)


# For two long enough that the second can start while the first goes on.
@pytest.mark.parametrize(("concurrency", "sleep_s"), [(1, 0.05), (2, 0.4)])
def test_a_distributed_map_heeds_its_concurrency(
    stack: dict[str, str], concurrency: int, sleep_s: float
) -> None:
    run = run_map(stack, [{"sleep_s": sleep_s}] * 6, concurrency)
    spans = sorted((done["started"], done["ended"]) for done in run["output"])
    at_once = [sum(a < end and start <= a for start, end in spans) for a, _ in spans]
    assert max(at_once) == concurrency


def test_what_goes_beyond_the_quota_fails_by_name(stack: dict[str, str]) -> None:
    run = run_map(stack, [{"sleep_s": 1}] * 3, concurrency=3)
    (refused,) = [done["e"] for done in run["output"] if "e" in done]
    assert refused["Error"] == "Lambda.TooManyRequestsException"


def test_a_stopped_execution_starts_nothing_more(stack: dict[str, str], aws: str) -> None:
    inject(aws, fatal_events=[{"last": True}])
    run = run_map(stack, [{"sleep_s": 0.6}] * 4 + [{"last": True}], stop=True)
    assert run["status"] == "ABORTED"
    time.sleep(1)
    assert happened(aws) == {}


def test_what_a_state_gives_has_a_limit(stack: dict[str, str]) -> None:
    run = run_map(stack, [{"padding": 150_000}] * 2)
    assert (run["status"], run["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_a_cron_that_never_comes_is_refused() -> None:
    scheduler = client("scheduler")
    target = {"Arn": "arn:aws:lambda:us-east-1:000000000000:function:x", "RoleArn": "arn:x"}
    with pytest.raises(scheduler.exceptions.ValidationException, match="Invalid Schedule Express"):
        scheduler.create_schedule(
            Name="never",
            ScheduleExpression="cron(99 22 ? * MON-FRI *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
        )


def test_a_schedule_fires_with_the_time_that_it_is_for(stack: dict[str, str]) -> None:
    invoke()  # There is a log from the first call on.
    now = datetime.now(UTC).replace(microsecond=0)
    scheduler = client("scheduler")
    scheduler.create_schedule(
        Name="probe",
        ScheduleExpression=f"at({now:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": stack["Probe"],
            "RoleArn": "arn:aws:iam::000000000000:role/probe",
            "Input": '{"at <aws.scheduler.scheduled-time>": 1}',
        },
        ActionAfterCompletion="DELETE",
    )
    deadline = time.monotonic() + 20
    said = ""
    while f"asked for ['at {now:%Y-%m-%dT%H}" not in said and time.monotonic() < deadline:
        time.sleep(0.1)
        events = client("logs").filter_log_events(logGroupName=LOGS)["events"]
        said = "".join(event["message"] for event in events)
    at = datetime.fromisoformat(said.partition("asked for ['at ")[2][:20])
    assert now <= at <= datetime.now(UTC)
    assert scheduler.list_schedules(NamePrefix="probe")["Schedules"] == []


def test_a_fatal_event_kills_the_function_each_time(aws: str) -> None:
    inject(aws, fatal_events=[{"cell": 7}])
    for _ in range(2):
        assert invoke(cell=7, sleep_s=0.2)[0]["errorType"] == "Runtime.ExitError"
    assert not invoke(cell=8)[1]
    assert happened(aws) == {"fatal_events": 2}


def test_writes_are_refused_stored_in_part_or_answered_late(aws: str) -> None:
    put = [{"PutRequest": {"Item": {"pk": {"S": f"item {i}"}}}} for i in range(3)]
    inject(aws, partial_batches=1)
    answer = client("dynamodb").batch_write_item(RequestItems={PROBE: put})
    assert answer["UnprocessedItems"] == {PROBE: put[1:]}
    there = {PROBE: {"Keys": [request["PutRequest"]["Item"] for request in put]}}
    stored = client("dynamodb").batch_get_item(RequestItems=there)["Responses"][PROBE]
    assert stored == [{"pk": {"S": "item 0"}}]

    inject(aws, throttled_batches=1, slow_batches=1, slow_s=0.5)
    began = time.monotonic()
    answer = client("dynamodb").batch_write_item(RequestItems={PROBE: put})
    assert time.monotonic() - began > 0.5
    assert answer["UnprocessedItems"] == {}
    assert happened(aws) == {"throttled_batches": 1, "slow_batches": 1}


def test_a_stack_that_a_change_set_makes_has_the_description_of_its_template(aws: str) -> None:
    cloudformation = client("cloudformation")
    template = {"Description": "a topic", "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    made = {"StackName": "Described", "ChangeSetName": "make"}
    body = json.dumps(template)
    cloudformation.create_change_set(**made, ChangeSetType="CREATE", TemplateBody=body)
    cloudformation.get_waiter("change_set_create_complete").wait(**made)
    cloudformation.execute_change_set(**made)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="Described")
    (stack,) = cloudformation.describe_stacks(StackName="Described")["Stacks"]
    assert stack["Description"] == "a topic"
    cloudformation.delete_stack(StackName="Described")
