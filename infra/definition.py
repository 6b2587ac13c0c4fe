"""What the state machine does, in Amazon's States Language; `${...}` is filled in at deployment."""

from __future__ import annotations

from typing import Any

State = dict[str, Any]

LABEL = "PriceAll"


def _retry(errors: list[str], attempts: int, first_s: int, most_s: int) -> State:
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": first_s,
        "BackoffRate": 2,
        "MaxDelaySeconds": most_s,
        "MaxAttempts": attempts,
        # Hundreds of chunks are refused at one moment; they must not come back at one moment.
        "JitterStrategy": "FULL",
    }


# These fail again however often: what was submitted, or what was deployed, must change.
HOPELESS: State = {
    "ErrorEquals": ["PlanError", "KernelError", "RunNotFoundError"],
    "MaxAttempts": 0,
}
# Somebody else has the account's concurrency: a quarter of an hour of patience.
THROTTLED = _retry(["Lambda.TooManyRequestsException"], 30, 2, 60)
SERVICE = _retry(
    [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        # An image that was not called for weeks is fetched again, which takes up to two minutes.
        "Lambda.CodeArtifactUserPendingException",
        "Lambda.ResourceNotReadyException",
        "Lambda.ResourceConflictException",
    ],
    12,
    2,
    60,
)
# All of its time again is dear, and a chunk that is too long stays so.
TIMED_OUT = _retry(["Sandbox.Timedout", "States.Timeout"], 1, 1, 30)
# A store that did not answer in time, a worker that was killed.
OTHER = _retry(["States.TaskFailed"], 3, 1, 30)
INVOKE = [HOPELESS, THROTTLED, SERVICE, TIMED_OUT, OTHER]
WRITE = [_retry(["States.TaskFailed", "States.Timeout"], 8, 1, 30)]
READ = [_retry(["States.ItemReaderFailed"], 3, 1, 30)]


def definition(keep_days: int, timeout_s: int) -> State:
    """Return the state machine: plan, price all chunks, finish.

    `keep_days` is how long the reason of a failure is kept, `timeout_s` what its functions have.
    """
    keep_s = keep_days * 86_400
    caught = _catch("RecordRunFailure")
    return {
        "Comment": "Prices one run: input {run, attempt, concurrency}",
        "StartAt": "Plan",
        "States": {
            "Plan": {
                **_invoke("${PlanFunction}", timeout_s, {"run.$": "$.run"}),
                "ResultSelector": {
                    "key.$": "$.Payload.key",
                    "chunks.$": "$.Payload.chunks",
                },
                "ResultPath": "$.plan",
                "Catch": caught,
                "Next": "AnythingToPrice",
            },
            "AnythingToPrice": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.plan.chunks", "NumericEquals": 0, "Next": "Finish"},
                ],
                "Default": LABEL,
            },
            LABEL: _price_all(keep_s, timeout_s) | {"Catch": caught, "Next": "Finish"},
            "Finish": {
                **_invoke("${FinishFunction}", timeout_s, {"run.$": "$.run"}),
                "OutputPath": "$.Payload",
                "Catch": caught,
                "Next": "IsComplete",
            },
            "IsComplete": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.state", "StringEquals": "complete", "Next": "Complete"},
                ],
                "Default": "Incomplete",
            },
            "Complete": {"Type": "Succeed"},
            "Incomplete": {
                "Type": "Fail",
                "Error": "Incomplete",
                "Cause": "Some chunks are not priced; the run's status says which and why.",
            },
            "RecordRunFailure": {
                **_record(keep_s, "failed#run"),
                "Output": "{% $states.input %}",
                "Next": "Failed",
            },
            "Failed": {
                "Type": "Fail",
                "ErrorPath": "$.failure.Error",
                "CausePath": "$.failure.Cause",
            },
        },
    }


def _price_all(keep_s: int, timeout_s: int) -> State:
    return {
        "Type": "Map",
        "Label": LABEL,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "${Bucket}", "Key.$": "$.plan.key"},
        },
        "MaxConcurrencyPath": "$.concurrency",
        # A chunk that fails stops no other; finish counts what is missing.
        "ToleratedFailurePercentage": 100,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "PriceChunk",
            "States": {
                "PriceChunk": {
                    **_invoke(
                        "${PriceFunction}",
                        timeout_s,
                        {
                            "run.$": "$.run",
                            "first.$": "$.first",
                            "end.$": "$.end",
                            "queued.$": "$.queued",
                            "retries.$": "$$.State.RetryCount",
                        },
                    ),
                    # The outputs of all chunks together must stay under 256 KiB.
                    "OutputPath": None,
                    "Catch": _catch("RecordFailure"),
                    "End": True,
                },
                "RecordFailure": {
                    **_record(
                        keep_s,
                        "{% 'failed#' & $states.input.first %}",
                        first={"N": "{% $string($states.input.first) %}"},
                        end={"N": "{% $string($states.input.end) %}"},
                    ),
                    "Output": {},
                    "End": True,
                },
            },
        },
        "ResultPath": None,
        "Retry": READ,
    }


def _invoke(function: str, timeout_s: int, payload: State) -> State:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": payload},
        # Later than the function's own, which says more.
        "TimeoutSeconds": timeout_s + 60,
        "Retry": INVOKE,
    }


def _catch(state: str) -> list[State]:
    return [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": state}]


def _record(keep_s: int, sort_key: str, **blocks: State) -> State:
    """Write why something failed. Only JSONata knows the time, and a cause that is not there."""
    cause = "$states.input.failure.Cause"
    return {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": "arn:aws:states:::dynamodb:putItem",
        "Arguments": {
            "TableName": "${Table}",
            "Item": {
                "pk": {"S": "{% $states.input.run %}"},
                "sk": {"S": sort_key},
                "error": {"S": "{% $states.input.failure.Error %}"},
                "cause": {"S": f"{{% $exists({cause}) ? {cause} : '' %}}"},
                "at": {"S": "{% $now() %}"},
                "expires": {"N": f"{{% $string($floor($millis() / 1000) + {keep_s}) %}}"},
                **blocks,
            },
        },
        "Retry": WRITE,
    }
