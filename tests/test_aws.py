"""What goes wrong with AWS is one line that says what to do."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from botocore import exceptions as botocore
from botocore.stub import Stubber

from pricer.aws import _client, client, error_code, explained, region_of
from pricer.errors import AwsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_client() -> Iterator[None]:
    _client.cache_clear()
    yield
    _client.cache_clear()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def refused(code: str, message: str = "why", **rest: Any) -> botocore.ClientError:
    return botocore.ClientError({"Error": {"Code": code, "Message": message}} | rest, "GetItem")


def says(*words: str) -> Any:
    return pytest.raises(AwsError, match=".*".join(map(re.escape, words)))


def test_without_credentials_one_line_says_how_to_get_some() -> None:
    tables = client("dynamodb", region="us-east-1")
    with says("AWS: no credentials; run `aws configure`, or set AWS_PROFILE"), explained():
        tables.list_tables()


@pytest.mark.usefixtures("credentials")
def test_a_service_that_cannot_be_reached_is_named_with_its_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    tables = client("dynamodb", region="us-east-1", endpoint=endpoint, attempts=1)
    with (
        says("table x: cannot be reached: ", endpoint, "; check the region and the network"),
        explained("table x"),
    ):
        tables.list_tables()


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("ExpiredTokenException", "here: the credentials have expired; get new ones, as with"),
        ("ExpiredToken", "here: the credentials have expired; get new ones, as with"),
        (
            "UnrecognizedClientException",
            "here: the credentials are not known there (UnrecognizedClientException);"
            " check AWS_PROFILE and the region",
        ),
        ("SignatureDoesNotMatch", "here: the credentials are not known there (SignatureDoesNot"),
        ("AccessDeniedException", "here: ListTables is not allowed: why"),
        ("LimitExceededException", "here: ListTables: LimitExceededException: why"),
    ],
)
@pytest.mark.usefixtures("credentials")
def test_what_a_service_refuses_is_explained(code: str, line: str) -> None:
    tables = client("dynamodb", region="us-east-1")
    with Stubber(tables) as stubber:
        stubber.add_client_error("list_tables", code, "why")
        with says(line), explained("here"):
            tables.list_tables()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidSignatureException", "Signature expired: 20261123T08Z is now earlier than 09Z"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261123T10Z is still later"),
        ("RequestTimeTooSkewed", "The difference between the request time and the current time"),
    ],
)
def test_a_wrong_clock_is_not_taken_for_wrong_credentials(code: str, message: str) -> None:
    with says("AWS: this machine's clock is not that of AWS; set it"), explained():
        raise refused(code, message)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            botocore.TokenRetrievalError(provider="sso", error_msg="expired"),
            "the credentials have expired; get new ones",
        ),
        (botocore.SSOTokenLoadError(error_msg="gone"), "the credentials have expired"),
        (botocore.PartialCredentialsError(provider="env", cred_var="KEY"), "no credentials; run"),
        (botocore.ReadTimeoutError(endpoint_url="https://a"), "cannot be reached: "),
        (botocore.ConnectionClosedError(endpoint_url="https://a"), "cannot be reached: "),
        (botocore.CredentialRetrievalError(provider="p", error_msg="a\nb"), " from p: a b"),
    ],
)
def test_what_boto_cannot_do_is_explained(error: Exception, line: str) -> None:
    with says("AWS: ", line) as caught, explained():
        raise error
    assert "\n" not in str(caught.value)


def test_without_a_region_one_line_says_where_to_set_it() -> None:
    with says("AWS: no region; set AWS_REGION, or a region in the profile"):
        client("dynamodb")


def test_an_unknown_profile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    for ask in (region_of, lambda: client("dynamodb", region="us-east-1")):
        with says("AWS: The config profile (nobody) could not be found; check AWS_PROFILE"):
            ask()


def test_a_region_or_endpoint_that_cannot_be_is_named() -> None:
    with says("AWS: ", "us east", "format"):
        client("dynamodb", region="us east")
    with says("AWS: Invalid endpoint: localhost; an endpoint must be a URL, as https://host"):
        client("dynamodb", region="us-east-1", endpoint="localhost")


def test_the_region_is_the_one_given_else_the_environments_else_the_profiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert region_of() is None
    config = tmp_path / "config"
    config.write_text("[profile work]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert region_of() == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert region_of() == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert region_of() == "eu-west-3"
    assert region_of("us-east-2") == "us-east-2"
    assert client("s3").meta.region_name == "eu-west-3"


@pytest.mark.usefixtures("credentials")
def test_a_client_has_the_credentials_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    client("dynamodb", region="us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    other = client("dynamodb", region="us-east-2")
    assert other._request_signer._credentials.access_key == "another"


def test_a_client_is_made_once() -> None:
    assert client("s3", region="us-east-1") is client("s3", region="us-east-1")


def test_the_code_of_a_refusal_survives_its_explanation() -> None:
    with pytest.raises(StoreError) as caught, explained():
        raise refused("ThrottlingException")
    assert error_code(caught.value) == "ThrottlingException"
    assert error_code(caught.value.__cause__) == "ThrottlingException"
    assert error_code(AwsError("else")) == error_code(ValueError()) == error_code(None) == ""


def test_the_code_of_a_transaction_is_that_of_the_part_that_failed() -> None:
    parts = [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
    error = refused("TransactionCanceledException", CancellationReasons=parts)
    assert error_code(error) == "ConditionalCheckFailed"


def test_a_mistake_of_ours_stays_as_it_is() -> None:
    with pytest.raises(KeyError), explained():
        raise KeyError("ours")
