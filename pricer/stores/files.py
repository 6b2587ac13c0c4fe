"""The files of runs in a DynamoDB table: on S3, or in pieces in the table, without a bucket."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pricer import aws
from pricer.errors import AwsError, PlanError, StoreError
from pricer.plan import Bulk

from . import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .items import Item
    from .table import Table

PIECE_BYTES = 390_000
BUFFER_BYTES = 2**20
S3 = "s3://"


class Files:
    """The files of the runs in `table`, in `bucket` if there is one."""

    def __init__(self, table: Table, bucket: str | None) -> None:
        self.table = table
        self.bucket = bucket

    def keep(self, run_id: str, head: Item, files: Mapping[str, bytes]) -> Item:
        """Keep the files of a run; return what its head says of them."""
        kept: Item = {"files": {name: len(data) for name, data in files.items()}}
        if self.bucket:
            for name, data in files.items():
                self.write(run_id, head, name, data)
            return kept | {"place": f"{S3}{self.bucket}/{_folder(run_id, head)}"}
        for name, data in files.items():
            for number, first in enumerate(range(0, len(data), PIECE_BYTES)):
                pk, sk = _piece(run_id, head, name, number)
                piece = {"pk": pk, "sk": sk, "data": data[first : first + PIECE_BYTES]}
                self.table.put(piece | {"expires": head["expires"]})
        return kept

    def write(self, run_id: str, head: Item, name: str, data: bytes | Bulk) -> str:
        """Put a file into the bucket, what is bulky as it is read, and return its key."""
        if not self.bucket:
            raise StoreError(
                f"{self.table.where}: has no bucket beside it to write {name} to; open the store"
                " with bucket=NAME"
            )
        key = f"{_folder(run_id, head)}{name}"
        body = io.BufferedReader(_Stream(data), BUFFER_BYTES) if isinstance(data, Bulk) else data
        self._s3("put_object", self.bucket, key, Body=body)
        return key

    def has(self, run_id: str, head: Item, name: str, size: int) -> bool:
        """Tell whether a file of that size is in the bucket."""
        if not self.bucket:
            return False
        try:
            found = self._s3("head_object", self.bucket, f"{_folder(run_id, head)}{name}")
        except AwsError as error:
            if aws.error_code(error) not in ("404", "NoSuchKey", "NotFound"):
                raise
            return False
        return bool(found["ContentLength"] == size)

    def read(
        self, run_id: str, head: Item, name: str, first: int = 0, end: int | None = None
    ) -> bytes:
        """Return the bytes from `first` to before `end` of a file."""
        if name not in head["files"]:
            if not self.bucket:
                raise PlanError(f"run {run_id[:SHORT_ID]}: has no file {name}")
            return self._object(self.bucket, f"{_folder(run_id, head)}{name}", first, end)
        size = head["files"][name]
        end = size if end is None else min(end, size)
        if first >= end:
            return b""
        if "place" in head:
            bucket, _, folder = head["place"].removeprefix(S3).partition("/")
            data = self._object(bucket, f"{folder}{name}", first, end)
        else:
            data = self._pieces(run_id, head, name, first, end)
        if len(data) != end - first:
            raise PlanError(
                f"run {run_id[:SHORT_ID]}: is damaged, its file {name} is not whole; delete the"
                " run and submit it again"
            )
        return data

    def _object(self, bucket: str, key: str, first: int, end: int | None) -> bytes:
        wanted = f"bytes={first}-{'' if end is None else end - 1}"
        body = self._s3("get_object", bucket, key, Range=wanted)["Body"]
        with aws.explained(f"bucket {bucket}"):
            return bytes(body.read())

    def _pieces(self, run_id: str, head: Item, name: str, first: int, end: int) -> bytes:
        start = first // PIECE_BYTES
        pieces = [
            self.table.get(*_piece(run_id, head, name, number))
            for number in range(start, -(-end // PIECE_BYTES))
        ]
        data = b"".join(piece["data"] for piece in pieces if piece)
        return data[first - start * PIECE_BYTES : end - start * PIECE_BYTES]

    def _s3(self, operation: str, bucket: str, key: str, **request: Any) -> Any:
        client = aws.client("s3", region=self.table.region)
        try:
            with aws.explained(f"bucket {bucket}"):
                return getattr(client, operation)(Bucket=bucket, Key=key, **request)
        except AwsError as error:
            match aws.error_code(error):
                case "NoSuchBucket":
                    raise StoreError(
                        f"bucket {bucket}: is not there; check its name and region, or deploy it"
                    ) from error
                case "NoSuchKey" | "InvalidRange":
                    raise PlanError(
                        f"bucket {bucket}: {key} is not there or too short; delete the run and"
                        " submit it again"
                    ) from error
            raise


class _Stream(io.RawIOBase):
    """A bulky file as what reads and sends it expects one."""

    def __init__(self, file: Bulk) -> None:
        self.file = file
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.file.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(self.at, min(self.at + len(buffer), self.file.size))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def _folder(run_id: str, head: Item) -> str:
    return f"runs/{run_id}/{head['generation']}/"


def _piece(run_id: str, head: Item, name: str, number: int) -> tuple[str, str]:
    return f"{run_id}#file#{name}", f"{head['generation']}#{number:08d}"
