"""A grid, a book or a panel from a file. Only here does a file become text and text a spec."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .tables import parquet_parts, require_pyarrow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from .book import Book
    from .grid import Grid
    from .panel import Panel


def read_spec(
    path: Path | str, *, on_progress: Callable[[int, int], None] | None = None, **book: Any
) -> Grid | Book | Panel:
    """Read a grid or a panel from a .toml file, or a book from a .csv or .parquet file.

    A book may also be packed, .csv.gz, or lie in a folder, in parts that are .parquet files.

    Parameters
    ----------
    path
        The file. A panel's numbers are read from the file that it names, and kept on disk.
    on_progress
        Told, while that file is read, how many of its bytes are, and how many it has.
    book
        Of a book alone: columns, valuation_date, method, tolerance, measures, seed, sampling and
        paths, as the command line takes them.

    Raises
    ------
    SpecError
        Where the file cannot be read or meant: names the place, the rule and the value got.
    """
    path = Path(path)
    if not _is_toml(path, book):
        return read_book(path, **book)
    text = _text(path)
    if _says_panel(text, path):
        from .panelfile import read_panel

        return read_panel(text, path, on_progress)
    return _grid(text, path)


def read_alone(path: Path, **book: Any) -> Grid | Book:
    """Read a file as `read_spec` does; refuse a panel, which needs a second file beside it."""
    if not _is_toml(path, book):
        return read_book(path, **book)
    text = _text(path)
    if _says_panel(text, path):
        raise SpecError(
            f"{path}: a panel cannot be scheduled, since its days are in a second file; submit it"
        )
    return _grid(text, path)


def _is_toml(path: Path, book: Mapping[str, Any]) -> bool:
    toml = path.suffix.lower() == ".toml"
    given = [name.replace("_", " ") for name, value in book.items() if value]
    if toml and given:
        raise SpecError(f"{path}: a .toml file says its own {' and '.join(given)}")
    return toml


def _says_panel(text: str, path: Path) -> bool:
    from .grid import parse_toml
    from .panel import says_panel

    try:
        return says_panel(parse_toml(text))
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def _grid(text: str, path: Path) -> Grid:
    from .grid import Grid

    return Grid.parse(text, str(path))


def read_book(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    valuation_date: date | str | None = None,
    quotes: bool = False,
    **settings: Any,
) -> Book:
    """Read a book from a file or a folder of parts; what is None takes its default."""
    from .book import Book

    given = {name: value for name, value in settings.items() if value is not None}
    given |= {"columns": columns, "valuation_date": valuation_date, "quotes": quotes}
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return Book.parse(_text(path), str(path), **given)
    if name.endswith(".parquet") or path.is_dir():
        return Book.from_columns(_columns(path), str(path), **given)
    if name.endswith(".toml"):
        raise SpecError(f"{path}: is no book; `pricer submit` prices a grid or a panel")
    raise SpecError(
        f"{path}: must end in .toml (a grid or a panel), or in .csv, .csv.gz or .parquet (a book),"
        " or be a folder of .parquet files"
    )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SpecError(f"{path}: is not gzip, or not whole: {error}") from None
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: must be UTF-8 text, got byte 0x{error.object[error.start]:02x}"
            f" at {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _columns(path: Path) -> dict[str, list[Any]]:
    pa = require_pyarrow()
    try:
        parts = parquet_parts(path)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    tables = [_table(part) for part in parts]
    names = tables[0].column_names
    for part, table in zip(parts, tables, strict=True):
        if set(table.column_names) != set(names):
            raise SpecError(
                f"{part}: columns must be those of {parts[0].name}, {', '.join(names)};"
                f" got {', '.join(table.column_names)}"
            )
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise SpecError(f"{path}: columns must be of one kind in all parts: {error}") from None
    return {name: _values(whole.column(name)) for name in names}


def _table(path: Path) -> Any:
    """Read a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise SpecError(f"{path}: is not Parquet: {error}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    names = table.column_names
    for i, name in enumerate(names):
        if name in names[:i]:
            raise SpecError(f"{path}: header: names must differ, got {name!r} twice")
    return table


def _values(column: Any) -> Any:
    import pyarrow.types as types

    # NumPy reads a million floats at once, and a null as NaN.
    return column.to_numpy() if types.is_floating(column.type) else column.to_pylist()
