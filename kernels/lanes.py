"""Explicit SIMD for numba: a vector of `WIDTH` doubles, its arithmetic, loads and stores.

LLVM does not vectorise a loop over options inside a loop over mesh nodes; a vector type makes the
lanes explicit and portable (LLVM splits it for AVX2, SSE or NEON). The one fast-math flag is
`contract`: it fuses multiply-add, and gives the same bits wherever the target is the same.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jit import Floats

WIDTH = 8
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


class Lane:
    """What a kernel sees of `WIDTH` doubles: arithmetic, lane by lane."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __add__(self, other: Lane) -> Lane: ...
        def __sub__(self, other: Lane) -> Lane: ...
        def __mul__(self, other: Lane) -> Lane: ...
        def __truediv__(self, other: Lane) -> Lane: ...


class _LaneType(types.Type):
    """What numba infers for a `Lane`."""


_lane = _LaneType(name=f"float64x{WIDTH}")


@register_model(_LaneType)
class _LaneModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.mul(row, ir.Constant(row.type, WIDTH))
    return builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer())


@intrinsic
def _load(typing_context: Any, array: Any, row: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], *args)
        return builder.load(address, align=8)

    return _lane(array, types.intp), emit


@intrinsic
def _store(typing_context: Any, array: Any, row: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, row, lane = args
        builder.store(lane, _address(context, builder, signature.args[0], array, row), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lane), emit


@intrinsic
def _broadcast(typing_context: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, args[0], cgutils.int32_t(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, undefined, mask)

    return _lane(types.float64), emit


@intrinsic
def _choose(typing_context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered(">", a, b), yes, no)

    return _lane(_lane, _lane, _lane, _lane), emit


def _arithmetic(symbol: Callable[[Any, Any], Any], emitter: str) -> None:
    @intrinsic
    def operate(typing_context: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, emitter)(*args, flags=("contract",))

        return _lane(_lane, _lane), emit

    def apply(a: Any, b: Any) -> Any:
        return operate(a, b)  # type: ignore[call-arg]

    @overload(symbol)
    def resolve(a: Any, b: Any) -> Any:
        return apply if isinstance(a, _LaneType) and isinstance(b, _LaneType) else None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")

# Row of a C-contiguous float64 array of shape (n, WIDTH).
load = cast("Callable[[Floats, int], Lane]", _load)
# Write to such a row.
store = cast("Callable[[Floats, int, Lane], None]", _store)
# The same double in every lane.
broadcast = cast("Callable[[float], Lane]", _broadcast)
# choose(a, b, yes, no): `yes` in the lanes where a > b, `no` in the others.
choose = cast("Callable[[Lane, Lane, Lane, Lane], Lane]", _choose)
