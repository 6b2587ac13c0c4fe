"""Explicit SIMD for numba: a vector of `WIDTH` doubles, its arithmetic, loads and stores.

LLVM does not vectorise a loop over options inside a loop over mesh nodes; a vector type makes the
lanes explicit and portable (LLVM splits it for AVX2, SSE or NEON). The one fast-math flag is
`contract`: it fuses multiply-add, and gives the same bits wherever the target is the same.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 8
CONTRACT = ("contract",)
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


class LaneType(types.Type):
    """`WIDTH` doubles that move through one instruction together."""

    def __init__(self) -> None:
        super().__init__(name=f"float64x{WIDTH}")


lane_type = LaneType()


@register_model(LaneType)
class _LaneModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context, builder, array_type, array, row):
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.mul(row, ir.Constant(row.type, WIDTH))
    return builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, row):
    """Row `row` of a C-contiguous float64 array of shape (n, WIDTH)."""

    def emit(context, builder, signature, args):
        address = _address(context, builder, signature.args[0], *args)
        return builder.load(address, align=8)

    return lane_type(array, types.intp), emit


@intrinsic
def store(typing_context, array, row, lane):
    """Write `lane` to row `row` of a C-contiguous float64 array of shape (n, WIDTH)."""

    def emit(context, builder, signature, args):
        array, row, lane = args
        builder.store(lane, _address(context, builder, signature.args[0], array, row), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lane_type), emit


@intrinsic
def broadcast(typing_context, value):
    """The same double in every lane."""

    def emit(context, builder, signature, args):
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, args[0], cgutils.int32_t(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, undefined, mask)

    return lane_type(types.float64), emit


@intrinsic
def choose(typing_context, a, b, yes, no):
    """`yes` in the lanes where a > b, `no` in the others."""

    def emit(context, builder, signature, args):
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered(">", a, b), yes, no)

    return lane_type(lane_type, lane_type, lane_type, lane_type), emit


def _arithmetic(symbol, emitter: str) -> None:
    @intrinsic
    def operate(typing_context, a, b):
        def emit(context, builder, signature, args):
            return getattr(builder, emitter)(*args, flags=CONTRACT)

        return lane_type(lane_type, lane_type), emit

    @overload(symbol)
    def resolve(a, b):
        if isinstance(a, LaneType) and isinstance(b, LaneType):
            return lambda a, b: operate(a, b)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
