"""Rows of lanes in memory that an array elsewhere keeps alive: addresses and nothing more.

An array that a kernel hands on is counted, atomically, every time; where a stage takes 200 ns for
`WIDTH` lanes that shows. `Rows` are to be had from an array that outlives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from .lanes import LANE, VECTOR, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jit import Floats
    from .lanes import Lane

_DOUBLES = ir.DoubleType().as_pointer()
_ROW_BYTES = 8 * WIDTH


class Rows:
    """What a kernel sees of rows of `WIDTH` doubles: where they start."""

    __slots__ = ()


class _RowsType(types.Type):
    """What numba infers for `Rows`."""


_rows_type = _RowsType(name=f"rows of float64x{WIDTH}")


@register_model(_RowsType)
class _RowsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _DOUBLES)  # type: ignore[no-untyped-call]


def _place(builder: Any, rows: Any, row: Any, lane: Any) -> Any:
    first = builder.mul(row, ir.Constant(row.type, WIDTH))
    return builder.gep(rows, [builder.add(first, lane)])


def _row(builder: Any, rows: Any, row: Any) -> Any:
    return builder.bitcast(_place(builder, rows, row, cgutils.intp_t(0)), VECTOR.as_pointer())


@intrinsic
def _rows(typing_context: Any, array: Any, start: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        # A row that lies across two cache lines takes longer to load.
        end = builder.add(builder.ptrtoint(data, cgutils.intp_t), cgutils.intp_t(_ROW_BYTES - 1))
        line = builder.and_(end, cgutils.intp_t(-_ROW_BYTES))
        first = builder.add(line, builder.mul(args[1], cgutils.intp_t(_ROW_BYTES)))
        return builder.inttoptr(first, _DOUBLES)

    return _rows_type(array, types.intp), emit


@intrinsic
def _load(typing_context: Any, rows: Any, row: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_row(builder, *args), align=8)

    return LANE(_rows_type, types.intp), emit


@intrinsic
def _store(typing_context: Any, rows: Any, row: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _row(builder, *args[:2]), align=8)
        return context.get_dummy_value()

    return types.void(_rows_type, types.intp, LANE), emit


@intrinsic
def _get(typing_context: Any, rows: Any, row: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(builder, *args))

    return types.float64(_rows_type, types.intp, types.intp), emit


@intrinsic
def _put(typing_context: Any, rows: Any, row: Any, lane: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[3], _place(builder, *args[:3]))
        return context.get_dummy_value()

    return types.void(_rows_type, types.intp, types.intp, types.float64), emit


@intrinsic
def _gather(typing_context: Any, rows: Any, numbers: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = builder.fptosi(args[1], ir.VectorType(ir.IntType(32), WIDTH))
        lane = ir.Constant(VECTOR, ir.Undefined)
        for j in range(WIDTH):
            number = builder.extract_element(numbers, cgutils.int32_t(j))
            row = builder.zext(number, cgutils.intp_t)
            value = builder.load(_place(builder, args[0], row, cgutils.intp_t(j)))
            lane = builder.insert_element(lane, value, cgutils.int32_t(j))
        return lane

    return LANE(_rows_type, LANE), emit


# The rows of a contiguous float64 array from the `start`-th on. They begin on a cache line, so the
# array must have room for one row more.
rows = cast("Callable[[Floats, int], Rows]", _rows)
# A row, to read and to write.
load = cast("Callable[[Rows, int], Lane]", _load)
store = cast("Callable[[Rows, int, Lane], None]", _store)
# One lane of a row, to read and to write.
get = cast("Callable[[Rows, int, int], float]", _get)
put = cast("Callable[[Rows, int, int, float], None]", _put)
# gather(rows, numbers): lane j of row numbers[j], for whole numbers from 0 on.
gather = cast("Callable[[Rows, Lane], Lane]", _gather)
