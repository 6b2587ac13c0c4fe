"""A grid, a book or a panel from a file. Only here does a file become text and text a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .tables import require_pyarrow

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
    """Read a book from a .csv or .parquet file; what is None takes its default."""
    from .book import Book

    given = {name: value for name, value in settings.items() if value is not None}
    given |= {"columns": columns, "valuation_date": valuation_date, "quotes": quotes}
    match path.suffix.lower():
        case ".csv":
            return Book.parse(_text(path), str(path), **given)
        case ".parquet":
            return Book.from_columns(_columns(path), str(path), **given)
    raise SpecError(
        f"{path}: must end in .toml (a grid or a panel), or in .csv or .parquet (a book)"
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: must be UTF-8 text, got byte 0x{error.object[error.start]:02x}"
            f" at {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _columns(path: Path) -> dict[str, list[Any]]:
    pa = require_pyarrow()
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
    return {name: _values(table.column(name)) for name in names}


def _values(column: Any) -> Any:
    import pyarrow.types as types

    # NumPy reads a million floats at once, and a null as NaN.
    return column.to_numpy() if types.is_floating(column.type) else column.to_pylist()
