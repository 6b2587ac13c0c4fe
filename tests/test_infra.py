from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pricer
from cloud.templates import ROOT, run_app
from infra.definition import HOPELESS
from infra.settings import Settings
from pricer import errors
from pricer.compiled import TARGETS, kernel_version
from pricer.errors import SpecError

Template = dict[str, Any]

# CloudFormation's, for a template that is not first put on S3.
MOST_TEMPLATE_BYTES = 51_200

TABLE, BUCKET = "{ResultsTable.Arn}", "{PlansBucket.Arn}"
LOG, STATES = "{Log.Arn}", "arn:{Partition}:states:{Region}:{AccountId}"
LOGGED = (["logs:CreateLogStream", "logs:PutLogEvents"], [LOG])
TRACED = (["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"])
READS = [(["s3:GetObject"], [f"{BUCKET}/runs/*"]), (["s3:ListBucket"], [BUCKET])]
MAY = {
    "Plan": [
        LOGGED,
        TRACED,
        *READS,
        (["s3:PutObject"], [f"{BUCKET}/runs/*/manifest.json"]),
        (["dynamodb:GetItem", "dynamodb:Query", "dynamodb:BatchWriteItem"], [TABLE]),
    ],
    "Price": [
        LOGGED,
        TRACED,
        *READS,
        (
            [
                "dynamodb:GetItem",
                "dynamodb:BatchGetItem",
                "dynamodb:PutItem",
                "dynamodb:BatchWriteItem",
            ],
            [TABLE],
        ),
    ],
    "Finish": [
        LOGGED,
        TRACED,
        *READS,
        (["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"], [TABLE]),
    ],
    "Start": [
        LOGGED,
        TRACED,
        (["s3:GetObject"], [f"{BUCKET}/schedules/*"]),
        (["s3:GetObject", "s3:PutObject"], [f"{BUCKET}/runs/*"]),
        (["s3:ListBucket"], [BUCKET]),
        (
            [
                "dynamodb:GetItem",
                "dynamodb:Query",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
                "dynamodb:BatchWriteItem",
                "dynamodb:DescribeTable",
            ],
            [TABLE],
        ),
        (["states:StartExecution"], ["{RunMachine}"]),
        (["lambda:GetAccountSettings"], ["*"]),
        (["states:DescribeExecution"], [f"{STATES}:execution:Pricer:*"]),
    ],
    "Schedules": [(["lambda:InvokeFunction"], ["{StartFunction.Arn}"])],
    "Web": [
        LOGGED,
        TRACED,
        *READS,
        (["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"], [TABLE]),
        (["states:DescribeExecution"], [f"{STATES}:execution:Pricer:*"]),
    ],
    "Run": [
        (
            ["lambda:InvokeFunction"],
            ["{PlanFunction.Arn}", "{PriceFunction.Arn}", "{FinishFunction.Arn}"],
        ),
        (["s3:GetObject"], [f"{BUCKET}/runs/*/manifest.json"]),
        (["dynamodb:PutItem"], [TABLE]),
        (["states:StartExecution"], [f"{STATES}:stateMachine:Pricer"]),
        (
            ["states:DescribeExecution", "states:StopExecution"],
            [f"{STATES}:execution:Pricer:*", f"{STATES}:execution:Pricer/PriceAll:*"],
        ),
        (
            [
                "logs:CreateLogDelivery",
                "logs:GetLogDelivery",
                "logs:UpdateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:DescribeResourcePolicies",
                "logs:DescribeLogGroups",
            ],
            ["*"],
        ),
        (
            [
                "xray:PutTraceSegments",
                "xray:PutTelemetryRecords",
                "xray:GetSamplingRules",
                "xray:GetSamplingTargets",
            ],
            ["*"],
        ),
    ],
}
CONTEXT = "arn:{Partition}:s3:::cdk-hnb659fds-assets-{AccountId}-{Region}"
REPOSITORY = "cdk-hnb659fds-container-assets-{AccountId}-{Region}"
REGISTRY = "{AccountId}.dkr.ecr.{Region}.{URLSuffix}"
MAY_BUILD = [
    (["s3:GetObject", "s3:GetObjectVersion"], [f"{CONTEXT}/HASH.zip"]),
    (["s3:GetBucketAcl", "s3:GetBucketLocation"], [CONTEXT]),
    (
        [
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ],
        [f"arn:{{Partition}}:ecr:{{Region}}:{{AccountId}}:repository/{REPOSITORY}"],
    ),
    (["ecr:GetAuthorizationToken"], ["*"]),
    LOGGED,
]
PHYSICAL_NAMES = ["TableName", "BucketName", "FunctionName", "RoleName", "LogGroupName"]
PHYSICAL_NAMES += ["StateMachineName", "AlarmName", "DashboardName", "Name"]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise another deployment: everything is chosen, no finding of cdk-nag is accepted."""
    outdir = tmp_path_factory.mktemp("second")
    accept_nothing = "import infra.rules; infra.rules.accept = lambda *_: None"
    context = {
        "name": "Second",
        "architecture": "arm64",
        "base_image": "python:3.11-slim-bookworm",
        "warm_write_units": "8000",
        "keep_days": "30",
    }
    done = run_app(outdir, context, "-c", f"{accept_nothing}; from infra.app import main; main()")
    assert done.returncode
    return outdir


def read(folder: Path, stack: str) -> Template:
    template: Template = json.loads((folder / f"{stack}.template.json").read_text())
    return template


def of_type(template: Template, kind: str) -> list[Template]:
    return [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == f"AWS::{kind}"
    ]


def only(template: Template, kind: str) -> Template:
    (found,) = of_type(template, kind)
    return found


def text(value: Any) -> str:
    """Spell out what CloudFormation is to fill in, without the hashes of CDK's names."""
    match value:
        case str():
            return value
        case {"Fn::Join": [_, parts]}:
            return "".join(map(text, parts))
        case {"Fn::Sub": parts}:
            return str(parts).replace("${AWS::", "{")
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{{{name[:-8]}.{attribute}}}"
        case {"Ref": name}:
            return f"{{{name.removeprefix('AWS::') if name.startswith('AWS::') else name[:-8]}}}"
        case {"Fn::ImportValue": name}:
            for known in (TABLE, BUCKET):
                resource, attribute = known.strip("{}").split(".")
                if f"FnGetAtt{resource}" in name and attribute in name:
                    return known
    raise AssertionError(value)


def allowed(policy: Template) -> list[tuple[list[str], list[str]]]:
    """Return what a policy lets do, on what."""
    may = []
    for statement in policy["PolicyDocument"]["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = statement["Action"], statement["Resource"]
        may.append(
            (
                actions if isinstance(actions, list) else [actions],
                list(map(text, resources if isinstance(resources, list) else [resources])),
            )
        )
    return may


def machine(template: Template) -> Template:
    definition: Template = json.loads(
        only(template, "StepFunctions::StateMachine")["DefinitionString"]
    )
    return definition


def test_what_holds_state_outlives_its_stack(templates: Path) -> None:
    kept = {
        resource["Type"]: {resource["DeletionPolicy"], resource["UpdateReplacePolicy"]}
        for resource in read(templates, "Pricer-data")["Resources"].values()
    }
    assert kept == {
        "AWS::DynamoDB::GlobalTable": {"Retain"},
        "AWS::S3::Bucket": {"Retain"},
        "AWS::S3::BucketPolicy": {"Retain"},
    }


def test_what_holds_no_state_goes_with_its_stack(templates: Path) -> None:
    resources = read(templates, "Pricer")["Resources"].values()
    assert {resource.get("DeletionPolicy", "Delete") for resource in resources} == {"Delete"}


def test_table_is_on_demand_recoverable_and_forgets(templates: Path) -> None:
    table = only(read(templates, "Pricer-data"), "DynamoDB::GlobalTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    (replica,) = table["Replicas"]
    assert replica["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert replica["DeletionProtectionEnabled"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    # Encrypted all the same, with the key that DynamoDB owns.
    assert table["SSESpecification"] == {"SSEEnabled": False}
    assert "WarmThroughput" not in table


def test_bucket_is_private_encrypted_and_forgets_after_the_table(templates: Path) -> None:
    bucket = only(read(templates, "Pricer-data"), "S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    expire, abort = bucket["LifecycleConfiguration"]["Rules"]
    assert (expire["Prefix"], expire["ExpirationInDays"]) == ("runs/", 100)
    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_bucket_refuses_what_is_not_tls(templates: Path) -> None:
    policy = only(read(templates, "Pricer-data"), "S3::BucketPolicy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Principal"] == {"AWS": "*"}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [text(r) for r in statement["Resource"]] == [BUCKET, f"{BUCKET}/*"]


def test_functions_are_one_image_with_five_commands(templates: Path) -> None:
    functions = of_type(read(templates, "Pricer"), "Lambda::Function")
    commands = [f["ImageConfig"]["Command"] for f in functions]
    assert commands == [
        ["pricer.handler.plan"],
        ["pricer.handler.price"],
        ["pricer.handler.finish"],
        ["pricer.web.lambda_handler.handler"],
        ["pricer.handler.start"],
    ]
    assert [f["Timeout"] for f in functions] == [600, 600, 600, 60, 600]
    assert len({json.dumps(f["Code"]) for f in functions}) == 1
    for function in functions:
        assert function["MemorySize"] == 1769
        assert function["Architectures"] == ["x86_64"]
        assert function["TracingConfig"] == {"Mode": "Active"}
        told = function["Environment"]["Variables"]
        command = function["ImageConfig"]["Command"][0]
        module, _, name = command.rpartition(".")
        # Web writes no metrics.
        if module == "pricer.handler":
            assert told.pop("POWERTOOLS_METRICS_NAMESPACE") == "Pricer"
        else:
            name = "web"
        assert told.pop("POWERTOOLS_SERVICE_NAME") == name
        more = ["OUTPUTS", "STACK_NAME"] if command.endswith("start") else []
        assert sorted(told) == ["BUCKET_NAME", *more, "TABLE_NAME"]


def test_image_is_built_from_what_its_dockerfile_copies_and_nothing_else(templates: Path) -> None:
    files = context_files(templates, "dockerImages", "directory")
    assert {"infra/Dockerfile", "requirements/worker.txt", "pricer/handler.py"} <= files
    assert {path.name for path in (ROOT / "kernels").glob("*.py")} == {
        Path(name).name for name in files if name.startswith("kernels/")
    }
    outside = {"pricer/cli.py", "pricer/cli_web.py", "pricer/views.py", "pricer/stores/sqlite.py"}
    assert not outside & files
    page = {name for name in files if name.startswith("pricer/web/static/")}
    assert "pricer/web/static/index.html" in page
    assert {Path(name).suffix for name in files - page} == {"", ".json", ".py", ".txt"}


def context_files(folder: Path, kind: str, place: str) -> set[str]:
    """Name the files that the image is built from: here, or by CodeBuild."""
    stack = {"dockerImages": "Pricer", "files": "Pricer-build"}[kind]
    assets = json.loads((folder / f"{stack}.assets.json").read_text())[kind].values()
    (context,) = {asset["source"][place] for asset in assets if "asset." in asset["source"][place]}
    found = (folder / context).rglob("*")
    return {str(path.relative_to(folder / context)) for path in found if path.is_file()}


def test_codebuild_builds_the_same_image_from_the_same_files(templates: Path, second: Path) -> None:
    here = context_files(templates, "dockerImages", "directory")
    assert context_files(templates, "files", "path") == here - {".dockerignore"}
    for folder, name, base, machine_image in (
        (templates, "Pricer", "", "aws/codebuild/amazonlinux-x86_64-standard:5.0"),
        (
            second,
            "Second",
            "--build-arg BASE_IMAGE=python:3.11-slim-bookworm ",
            "aws/codebuild/amazonlinux-aarch64-standard:3.0",
        ),
    ):
        template = read(folder, f"{name}-build")
        project = only(template, "CodeBuild::Project")
        assert json.loads(project["Source"]["BuildSpec"])["phases"]["build"]["commands"] == [
            'aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"',
            f'docker build --file infra/Dockerfile {base}--tag "$IMAGE" .',
            'docker push "$IMAGE"',
        ]
        environment = project["Environment"]
        assert environment["Image"] == machine_image
        assert environment["PrivilegedMode"]
        # The CDK finds it where it would have put its own, and has nothing to build.
        (image,) = json.loads((folder / f"{name}.assets.json").read_text())["dockerImages"].values()
        (place,) = image["destinations"].values()
        tag = place["imageTag"]
        told = {v["Name"]: text(v["Value"]) for v in environment["EnvironmentVariables"]}
        assert told == {
            "IMAGE": f"{REGISTRY}/{REPOSITORY}:{tag}",
            "REGISTRY": REGISTRY,
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }
        assert place["repositoryName"].replace("${AWS::", "{") == REPOSITORY
        outputs = {name: text(out["Value"]) for name, out in template["Outputs"].items()}
        assert outputs["ImageTag"] == tag
        assert outputs["RepositoryName"] == REPOSITORY


def test_a_build_may_read_its_files_and_push_its_image_and_ends_within_an_hour(
    templates: Path,
) -> None:
    template = read(templates, "Pricer-build")
    may = [
        (actions, [re.sub(r"/\w{64}\.zip", "/HASH.zip", resource) for resource in resources])
        for actions, resources in allowed(only(template, "IAM::Policy"))
    ]
    assert may == MAY_BUILD
    project = only(template, "CodeBuild::Project")
    assert (project["TimeoutInMinutes"], project["QueuedTimeoutInMinutes"]) == (60, 30)
    assert only(template, "Logs::LogGroup")["RetentionInDays"] == 90
    resources = template["Resources"].values()
    assert {resource.get("DeletionPolicy", "Delete") for resource in resources} == {"Delete"}


def test_answers_are_at_a_url_that_only_signed_requests_may_call(templates: Path) -> None:
    template = read(templates, "Pricer")
    url = only(template, "Lambda::Url")
    assert url["AuthType"] == "AWS_IAM"
    assert text(url["TargetFunctionArn"]) == "{WebFunction.Arn}"
    # Neither another site's page nor anybody of another account is let in.
    assert "Cors" not in url
    assert not of_type(template, "Lambda::Permission")


@pytest.mark.parametrize("role", MAY)
def test_role_may_do_this_and_nothing_else(templates: Path, role: str) -> None:
    template = read(templates, "Pricer")
    (policy,) = [
        policy
        for policy in of_type(template, "IAM::Policy")
        if policy["PolicyName"].startswith(f"{role}Role")
    ]
    assert allowed(policy) == MAY[role]


def test_roles_have_no_other_policy_and_serve_one_service(templates: Path) -> None:
    template = read(templates, "Pricer")
    roles = of_type(template, "IAM::Role")
    assert len(roles) == len(of_type(template, "IAM::Policy")) == len(MAY)
    assert all(set(role) == {"AssumeRolePolicyDocument"} for role in roles)
    trusted = [s for role in roles for s in role["AssumeRolePolicyDocument"]["Statement"]]
    services = [statement["Principal"]["Service"] for statement in trusted]
    assert sorted(services) == [
        *(["lambda.amazonaws.com"] * 5),
        "scheduler.amazonaws.com",
        "states.amazonaws.com",
    ]
    (scheduler,) = [statement for statement in trusted if "Condition" in statement]
    assert scheduler["Principal"]["Service"] == "scheduler.amazonaws.com"
    source = scheduler["Condition"]["StringEquals"]
    # No schedule of another group, or of another account, is answered.
    assert text(source["aws:SourceArn"]) == "{SchedulesGroup.Arn}"
    assert text(source["aws:SourceAccount"]) == "{AccountId}"


def test_state_machine_may_write_nothing_but_reasons(templates: Path) -> None:
    template = read(templates, "Pricer")
    (writes,) = [
        statement
        for policy in of_type(template, "IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "dynamodb:PutItem"
    ]
    allowed = writes["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    states = machine(template)["States"]
    for state in (
        states["RecordRunFailure"],
        states["PriceAll"]["ItemProcessor"]["States"]["RecordFailure"],
    ):
        assert set(state["Arguments"]["Item"]) <= set(allowed)
    assert not {"summary", "data", "files"} & set(allowed)


def test_every_chunk_is_an_execution_of_its_own_and_none_stops_another(templates: Path) -> None:
    states = machine(read(templates, "Pricer"))["States"]
    price_all = states["PriceAll"]
    assert price_all["MaxConcurrencyPath"] == "$.concurrency"
    assert price_all["ToleratedFailurePercentage"] == 100
    assert price_all["ItemReader"]["ReaderConfig"] == {"InputType": "JSON"}
    assert price_all["ItemReader"]["Parameters"] == {"Bucket": "${Bucket}", "Key.$": "$.plan.key"}
    processor = price_all["ItemProcessor"]
    assert processor["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    chunk, record = processor["States"]["PriceChunk"], processor["States"]["RecordFailure"]
    assert chunk["Parameters"]["Payload"] == {
        "run.$": "$.run",
        "first.$": "$.first",
        "end.$": "$.end",
        "queued.$": "$.queued",
        "retries.$": "$$.State.RetryCount",
    }
    assert chunk["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordFailure"}
    ]
    assert record["Resource"] == "arn:aws:states:::dynamodb:putItem"
    assert record["End"]
    # Outputs of all chunks together are limited.
    assert chunk["OutputPath"] is None
    assert record["Output"] == {}


def test_calls_are_tried_again_with_jitter_but_not_what_fails_again(templates: Path) -> None:
    states = machine(read(templates, "Pricer"))["States"]
    chunk = states["PriceAll"]["ItemProcessor"]["States"]["PriceChunk"]
    for state in (states["Plan"], chunk, states["Finish"]):
        hopeless, *retried = state["Retry"]
        assert hopeless == {
            "ErrorEquals": ["PlanError", "KernelError", "RunNotFoundError"],
            "MaxAttempts": 0,
        }
        assert [retry["ErrorEquals"] for retry in retried] == [
            ["Lambda.TooManyRequestsException"],
            [
                "Lambda.ServiceException",
                "Lambda.AWSLambdaException",
                "Lambda.SdkClientException",
                "Lambda.ClientExecutionTimeoutException",
                "Lambda.CodeArtifactUserPendingException",
                "Lambda.ResourceNotReadyException",
                "Lambda.ResourceConflictException",
            ],
            ["Sandbox.Timedout", "States.Timeout"],
            ["States.TaskFailed"],
        ]
        assert [retry["MaxAttempts"] for retry in retried] == [30, 12, 1, 3]
        assert {retry["JitterStrategy"] for retry in retried} == {"FULL"}
        assert all(retry["MaxDelaySeconds"] <= 60 for retry in retried)
        # The function itself gives up first.
        assert state["TimeoutSeconds"] > 600


def test_errors_that_are_not_tried_again_are_errors_of_the_package() -> None:
    assert all(hasattr(errors, name) for name in HOPELESS["ErrorEquals"])


def test_run_that_fails_is_recorded_and_fails_the_execution(templates: Path) -> None:
    states = machine(read(templates, "Pricer"))["States"]
    for name in ("Plan", "PriceAll", "Finish"):
        assert states[name]["Catch"] == [
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordRunFailure"}
        ]
    assert states["RecordRunFailure"]["Next"] == "Failed"
    complete = states["IsComplete"]["Choices"]
    assert complete == [{"Variable": "$.state", "StringEquals": "complete", "Next": "Complete"}]
    assert states["IsComplete"]["Default"] == "Incomplete"
    assert states["Incomplete"]["Type"] == states["Failed"]["Type"] == "Fail"


def test_machine_is_traced_and_logs_errors(templates: Path) -> None:
    properties = only(read(templates, "Pricer"), "StepFunctions::StateMachine")
    assert properties["TracingConfiguration"] == {"Enabled": True}
    assert properties["LoggingConfiguration"]["Level"] == "ERROR"


def test_logs_are_kept_for_ninety_days(templates: Path) -> None:
    groups = of_type(read(templates, "Pricer"), "Logs::LogGroup")
    assert [group["RetentionInDays"] for group in groups] == [90, 90]


def test_alarms_are_on_failed_runs_schedules_throttles_errors_and_missing_kernels(
    templates: Path,
) -> None:
    template = read(templates, "Pricer")
    alarms = of_type(template, "CloudWatch::Alarm")
    assert [(a["Namespace"], a["MetricName"], a["Threshold"]) for a in alarms] == [
        ("AWS/States", "ExecutionsFailed", 1),
        ("AWS/Lambda", "Throttles", 1),
        ("AWS/Lambda", "Errors", 1),
        ("AWS/Lambda", "Errors", 1),
        ("Pricer", "KernelErrors", 1),
    ]
    watched = [text(a["Dimensions"][0]["Value"]) for a in alarms if a["MetricName"] == "Errors"]
    assert watched == ["{PriceFunction}", "{StartFunction}"]
    assert {alarm["TreatMissingData"] for alarm in alarms} == {"notBreaching"}
    assert {alarm["Statistic"] for alarm in alarms} == {"Sum"}
    kernel_errors = only(template, "Logs::MetricFilter")
    assert kernel_errors["FilterPattern"] == '"KernelError"'
    # A metric is billed for each value of its dimensions: a run's id must not be one.
    (metric,) = kernel_errors["MetricTransformations"]
    assert "Dimensions" not in metric


def test_the_dashboard_shows_what_workers_say_and_no_metric_is_by_run(templates: Path) -> None:
    body = json.dumps(only(read(templates, "Pricer"), "CloudWatch::Dashboard")["DashboardBody"])
    said = re.findall(r'\["Pricer","(\w+)","service","price",', body.replace("\\", ""))
    assert sorted(set(said)) == ["CellsPerSecond", "ColdStarts", "KernelSeconds", "WriteUnits"]
    assert body.count('"Pricer\\"') == len(said)


def test_outputs_say_all_that_a_client_needs(templates: Path) -> None:
    outputs = read(templates, "Pricer")["Outputs"]
    assert list(outputs) == [
        "TableName",
        "BucketName",
        "StateMachineArn",
        "PlanFunctionName",
        "PriceFunctionName",
        "FinishFunctionName",
        "WebFunctionName",
        "WebUrl",
        "LogGroupName",
        "KernelVersion",
        "Version",
        "Architecture",
        "MemoryMb",
        "KeepDays",
        "Choices",
        "StartFunctionArn",
        "ScheduleGroupName",
        "ScheduleRoleArn",
    ]
    said = {
        name: output["Value"]
        for name, output in outputs.items()
        if isinstance(output["Value"], str)
    }
    assert said == {
        "KernelVersion": kernel_version(TARGETS["x86_64"]),
        "Version": pricer.__version__,
        "Architecture": "x86_64",
        "MemoryMb": "1769",
        "KeepDays": "90",
        "Choices": "{}",
        "ScheduleGroupName": "Pricer",
    }


def test_two_deployments_share_no_name(templates: Path, second: Path) -> None:
    named = []
    for folder, name in ((templates, "Pricer"), (second, "Second")):
        own = []
        for stack in (f"{name}-build", f"{name}-data", name):
            template = read(folder, stack)
            own += [
                output["Export"]["Name"]
                for output in template["Outputs"].values()
                if "Export" in output
            ]
            own += [
                properties[key]
                for resource in template["Resources"].values()
                if (properties := resource.get("Properties", {}))
                for key in PHYSICAL_NAMES
                if isinstance(properties.get(key), str)
            ]
        assert own
        assert all(name in each for each in own)
        named.append(set(own))
    assert not named[0] & named[1]


def test_everything_that_can_be_chosen_is_deployed(second: Path) -> None:
    storage, service = read(second, "Second-data"), read(second, "Second")
    table = only(storage, "DynamoDB::GlobalTable")
    assert table["WarmThroughput"] == {"WriteUnitsPerSecond": 8000}
    rule = only(storage, "S3::Bucket")["LifecycleConfiguration"]["Rules"][0]
    assert rule["ExpirationInDays"] == 40
    for function in of_type(service, "Lambda::Function"):
        assert function["Architectures"] == ["arm64"]
    assert service["Outputs"]["KernelVersion"]["Value"] == kernel_version(TARGETS["arm64"])
    assert service["Outputs"]["KeepDays"]["Value"] == "30"
    # Given again, they deploy the same.
    assert json.loads(service["Outputs"]["Choices"]["Value"]) == {
        "architecture": "arm64",
        "base_image": "python:3.11-slim-bookworm",
        "warm_write_units": "8000",
        "keep_days": "30",
    }
    (image,) = json.loads((second / "Second.assets.json").read_text())["dockerImages"].values()
    assert image["source"]["platform"] == "linux/arm64"
    assert image["source"]["dockerBuildArgs"] == {"BASE_IMAGE": "python:3.11-slim-bookworm"}


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"name": "two words"}, "name: must be at most 80 letters"),
        # Deployed, it would take the place of Pricer's own.
        ({"name": "Pricer-data"}, "name: must not end in -data or -build"),
        ({"name": "Pricer-build"}, "name: must not end in -data or -build"),
        ({"architecture": "sparc"}, "architecture: must be one of x86_64, arm64, got 'sparc'"),
        ({"warm_write_units": "many"}, "warm_write_units: must be a whole number, got 'many'"),
        ({"warm_write_units": "100"}, "warm_write_units: must be at least 4000"),
        ({"keep_days": "0"}, "keep_days: must be at least 1, got 0"),
        ({"keep_day": "9"}, "keep_day: must be one of .*; did you mean 'keep_days'"),
    ],
)
def test_choice_that_cannot_be_meant_is_refused(context: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Settings.of(context)


def test_cdk_nag_finds_nothing_but_what_is_accepted(second: Path) -> None:
    (report,) = json.loads((second / "validation-report.json").read_text())["pluginReports"]
    found = {
        (violation["ruleName"].removeprefix("AwsSolutions-"), where["constructPath"])
        for violation in report["violations"]
        for where in violation["violatingConstructs"]
    }
    assert {
        (re.sub(r"Resource::.*(Arn\w{8}|AccountId>)", "", rule), path) for rule, path in found
    } == {
        ("S1", "Second-data/Plans/Bucket/Resource"),
        ("CB4", "Second-build/Project/Resource"),
        ("IAM5[Resource::*]", "Second-build/Role/DefaultPolicy/Resource"),
        ("SF1", "Second/Run/Machine/Resource"),
        *(
            ("IAM5[Resource::*]", f"Second/{role}/Role/DefaultPolicy/Resource")
            for role in ("Plan", "Price", "Finish", "Start", "Web", "Run")
        ),
        *(
            ("IAM5[/runs/*]", f"Second/{role}/Role/DefaultPolicy/Resource")
            for role in ("Plan", "Price", "Finish", "Start", "Web")
        ),
        ("IAM5[/schedules/*]", "Second/Start/Role/DefaultPolicy/Resource"),
        ("IAM5[:execution:Second:*]", "Second/Start/Role/DefaultPolicy/Resource"),
        ("IAM5[/runs/*/manifest.json]", "Second/Plan/Role/DefaultPolicy/Resource"),
        ("IAM5[/runs/*/manifest.json]", "Second/Run/Role/DefaultPolicy/Resource"),
        ("IAM5[:execution:Second:*]", "Second/Run/Role/DefaultPolicy/Resource"),
        ("IAM5[:execution:Second:*]", "Second/Web/Role/DefaultPolicy/Resource"),
        ("IAM5[:execution:Second/PriceAll:*]", "Second/Run/Role/DefaultPolicy/Resource"),
    }


def test_cfn_lint_finds_nothing(templates: Path, second: Path) -> None:
    files = sorted([*templates.glob("*.template.json"), *second.glob("*.template.json")])
    assert len(files) == 6
    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_templates_fit_in_one_request(templates: Path) -> None:
    sizes = [path.stat().st_size for path in templates.glob("*.template.json")]
    assert len(sizes) == 3
    assert max(sizes) < MOST_TEMPLATE_BYTES
