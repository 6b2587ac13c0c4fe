"""AWS, spoken to as its own tools are configured: profiles, regions, AWS_ENDPOINT_URL.

The one place that knows boto3. What goes wrong there is one clear line.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as botocore
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import Session

from .errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.loaders import Loader

CONNECT_S, READ_S = 5, 60
ATTEMPTS = 5

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
UNKNOWN = (
    *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"),
)
THROTTLED = (
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
)
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
# Their codes are those of wrong credentials.
SKEWED = ("Signature expired", "Signature not yet current")


def region_of(region: str | None = None) -> str | None:
    """Return the region: as given, else as the environment or the profile has it."""
    # The AWS command line reads AWS_REGION; boto3 alone would not.
    region = region or os.environ.get("AWS_REGION")
    with explained():
        return region or Session().get_config_variable("region")


def client(
    service: str,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    attempts: int = ATTEMPTS,
) -> Any:
    """Return the client of a service, which sends a request `attempts` times at most.

    It is the same one each time.
    """
    with explained():
        return _client(service, region_of(region), endpoint, attempts)


@cache
def _client(service: str, region: str | None, endpoint: str | None, attempts: int) -> Any:
    settings = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
    )
    # Not the default session, which would keep the first credentials it has seen.
    settled = Session()
    models = _models(settled.get_config_variable("data_path"))
    settled.register_component("data_loader", models)
    session = boto3.Session(botocore_session=settled)
    try:
        return session.client(service, region_name=region, endpoint_url=endpoint, config=settings)
    except botocore.BotoCoreError:
        raise
    except ValueError as error:
        raise AwsError(f"AWS: {error}; an endpoint must be a URL, as https://host") from error


@cache
def _models(path: str | None) -> Loader:
    """Return what reads the descriptions of services, once: most of what a client costs."""
    return create_loader(path)


def stack(name: str) -> dict[str, Any] | None:
    """Return what CloudFormation says of a stack, in whatever state it is; None without it.

    Its Outputs are a mapping here.
    """
    asked = client("cloudformation")
    try:
        with explained(f"stack {name!r} in {asked.meta.region_name}"):
            (found,) = asked.describe_stacks(StackName=name)["Stacks"]
    except AwsError as error:
        if "does not exist" in str(error):
            return None
        raise
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    return {**found, "Outputs": outputs}


def error_code(error: BaseException | None) -> str:
    """Return the code of what a service refused, ``""`` where it is something else.

    `error` is what boto3 raised or the `AwsError` that explains it. A transaction has the code
    of its first part that failed.
    """
    if isinstance(error, AwsError):
        error = error.__cause__
    if not isinstance(error, botocore.ClientError):
        return ""
    for part in error.response.get("CancellationReasons", ()):
        if part.get("Code", "None") != "None":
            return str(part["Code"])
    return str(error.response.get("Error", {}).get("Code", ""))


def passes(error: AwsError) -> bool:
    """Tell whether it may be otherwise in a moment: a service has no time, or is not reached."""
    match error.__cause__:
        case botocore.ClientError() as refused:
            status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return error_code(refused) in THROTTLED or status >= 500
        case botocore.ConnectionError() | botocore.HTTPClientError():
            return True
    return False


@contextmanager
def explained(where: str = "AWS") -> Iterator[None]:
    """Turn whatever boto3 raises into one line that says what to do; `where` begins it."""
    try:
        yield
    except botocore.ClientError as error:
        raise AwsError(f"{where}: {_refused(error)}") from error
    except botocore.BotoCoreError as error:
        raise AwsError(f"{where}: {_failed(error)}") from error


def _refused(error: botocore.ClientError) -> str:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    if code == "RequestTimeTooSkewed" or message.startswith(SKEWED):
        return "this machine's clock is not that of AWS; set it"
    if code in EXPIRED:
        return "the credentials have expired; get new ones, as with `aws sso login`"
    if code in UNKNOWN:
        return f"the credentials are not known there ({code}); check AWS_PROFILE and the region"
    if code in DENIED:
        return f"{error.operation_name} is not allowed: {message}"
    return f"{error.operation_name}: {code}: {message}"


def _failed(error: botocore.BotoCoreError) -> str:
    match error:
        case botocore.NoCredentialsError() | botocore.PartialCredentialsError():
            return "no credentials; run `aws configure`, or set AWS_PROFILE"
        case botocore.NoRegionError():
            return "no region; set AWS_REGION, or a region in the profile"
        case (
            botocore.TokenRetrievalError()
            | botocore.SSOTokenLoadError()
            | botocore.UnauthorizedSSOTokenError()
            | botocore.LoginRefreshRequired()
            | botocore.LoginTokenLoadError()
        ):
            return "the credentials have expired; get new ones, as with `aws sso login`"
        case botocore.ConnectionError() | botocore.HTTPClientError():
            return f"cannot be reached: {error}; check the region and the network"
        case botocore.ProfileNotFound():
            return f"{error}; check AWS_PROFILE"
    return " ".join(str(error).split())
