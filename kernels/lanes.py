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

    from .jit import Codes, Floats, Indices

WIDTH = 8
VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


class Lane:
    """What a kernel sees of `WIDTH` doubles: arithmetic, lane by lane."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __add__(self, other: Lane | float) -> Lane: ...
        def __sub__(self, other: Lane | float) -> Lane: ...
        def __mul__(self, other: Lane | float) -> Lane: ...
        def __truediv__(self, other: Lane | float) -> Lane: ...
        def __radd__(self, other: float) -> Lane: ...
        def __rsub__(self, other: float) -> Lane: ...
        def __rmul__(self, other: float) -> Lane: ...
        def __rtruediv__(self, other: float) -> Lane: ...
        def __neg__(self) -> Lane: ...


class _LaneType(types.Type):
    """What numba infers for a `Lane`."""


LANE = _LaneType(name=f"float64x{WIDTH}")


@register_model(_LaneType)
class _LaneModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.mul(row, ir.Constant(row.type, WIDTH))
    return builder.bitcast(builder.gep(data, [first]), VECTOR.as_pointer())


@intrinsic
def _load(typing_context: Any, array: Any, row: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], *args)
        return builder.load(address, align=8)

    return LANE(array, types.intp), emit


@intrinsic
def _store(typing_context: Any, array: Any, row: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, row, lane = args
        builder.store(lane, _address(context, builder, signature.args[0], array, row), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANE), emit


@intrinsic
def _broadcast(typing_context: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined = ir.Constant(VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, args[0], cgutils.int32_t(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, undefined, mask)

    return LANE(types.float64), emit


@intrinsic
def _choose(typing_context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered(">", a, b), yes, no)

    return LANE(LANE, LANE, LANE, LANE), emit


def _arithmetic(symbol: Callable[[Any, Any], Any], emitter: str) -> None:
    @intrinsic
    def operate(typing_context: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, emitter)(*args, flags=("contract",))

        return LANE(LANE, LANE), emit

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


def _with_numbers(symbol: Callable[[Any, Any], Any]) -> None:
    def number_last(a: Any, b: Any) -> Any:
        return symbol(a, _broadcast(b))  # type: ignore[call-arg]

    def number_first(a: Any, b: Any) -> Any:
        return symbol(_broadcast(a), b)  # type: ignore[call-arg]

    @overload(symbol)
    def resolve(a: Any, b: Any) -> Any:
        match a, b:
            case _LaneType(), types.Float():
                return number_last
            case types.Float(), _LaneType():
                return number_first
        return None


for _symbol in (operator.add, operator.sub, operator.mul, operator.truediv):
    _with_numbers(_symbol)


def _of_one(emit_lanes: Callable[..., Any]) -> Any:
    @intrinsic
    def function(typing_context: Any, a: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_lanes(builder, *args)

        return LANE(LANE), emit

    return function


def _of_two(emit_lanes: Callable[..., Any]) -> Any:
    @intrinsic
    def function(typing_context: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_lanes(builder, *args)

        return LANE(LANE, LANE), emit

    return function


def _of_three(emit_lanes: Callable[..., Any]) -> Any:
    @intrinsic
    def function(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_lanes(builder, *args)

        return LANE(LANE, LANE, LANE), emit

    return function


_negative = _of_one(lambda builder, a: builder.fneg(a))


@overload(operator.neg)
def _negate(a: Any) -> Any:
    def apply(a: Any) -> Any:
        return _negative(a)

    return apply if isinstance(a, _LaneType) else None


def _named(name: str) -> Callable[..., Any]:
    """Emit LLVM's own function of vectors, an instruction on every target."""

    def emit(builder: Any, *lanes: Any) -> Any:
        signature = ir.FunctionType(VECTOR, [VECTOR] * len(lanes))
        full_name = f"llvm.{name}.v{WIDTH}f64"
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, signature, full_name
        )
        return builder.call(function, lanes)

    return emit


def _greater(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _less(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


_WHOLE = ir.VectorType(ir.IntType(64), WIDTH)


class Bits:
    """What a kernel sees of `WIDTH` 64-bit integers: sums, shifts and logic, lane by lane."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __add__(self, other: Bits | int) -> Bits: ...
        def __sub__(self, other: Bits | int) -> Bits: ...
        def __lshift__(self, other: int) -> Bits: ...
        def __rshift__(self, other: int) -> Bits: ...
        def __xor__(self, other: Bits | int) -> Bits: ...
        def __or__(self, other: Bits | int) -> Bits: ...
        def __and__(self, other: Bits | int) -> Bits: ...


class _BitsType(types.Type):
    """What numba infers for `Bits`."""


_whole = _BitsType(name=f"int64x{WIDTH}")


@register_model(_BitsType)
class _BitsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WHOLE)  # type: ignore[no-untyped-call]


@intrinsic
def _bits(typing_context: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _WHOLE)

    return _whole(LANE), emit


@intrinsic
def _doubles(typing_context: Any, whole: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], VECTOR)

    return LANE(_whole), emit


@intrinsic
def _repeat(typing_context: Any, number: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined = ir.Constant(_WHOLE, ir.Undefined)
        first = builder.insert_element(undefined, args[0], cgutils.int32_t(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, undefined, mask)

    return _whole(types.int64), emit


def _whole_arithmetic(symbol: Callable[[Any, Any], Any], emitter: str) -> None:
    @intrinsic
    def operate(typing_context: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, emitter)(*args)

        return _whole(_whole, _whole), emit

    def apply(a: Any, b: Any) -> Any:
        return operate(a, b)  # type: ignore[call-arg]

    def apply_number(a: Any, b: Any) -> Any:
        return operate(a, _repeat(b))  # type: ignore[call-arg]

    @overload(symbol)
    def resolve(a: Any, b: Any) -> Any:
        match a, b:
            case _BitsType(), _BitsType():
                return apply
            case _BitsType(), types.Integer():
                return apply_number
        return None


_whole_arithmetic(operator.add, "add")
_whole_arithmetic(operator.sub, "sub")
_whole_arithmetic(operator.lshift, "shl")
_whole_arithmetic(operator.rshift, "lshr")
_whole_arithmetic(operator.xor, "xor")
_whole_arithmetic(operator.or_, "or_")
_whole_arithmetic(operator.and_, "and_")


@intrinsic
def _numbered(typing_context: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(_WHOLE, list(range(WIDTH)))

    return _whole(), emit


@intrinsic
def _product(typing_context: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        low = ir.Constant(_WHOLE, [0xFFFFFFFF] * WIDTH)
        return builder.mul(*(builder.and_(each, low) for each in args))

    return _whole(_whole, _whole), emit


@intrinsic
def _reversed(typing_context: Any, whole: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_WHOLE, [_WHOLE])
        full_name = f"llvm.bitreverse.v{WIDTH}i64"
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, full_name
        )
        return builder.call(function, args)

    return _whole(_whole), emit


@intrinsic
def _load_whole(typing_context: Any, array: Any, row: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], *args)
        return builder.load(builder.bitcast(address, _WHOLE.as_pointer()), align=8)

    return _whole(array, types.intp), emit


@intrinsic
def _store_whole(typing_context: Any, array: Any, start: Any, whole: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, start, whole = args
        data = context.make_array(signature.args[0])(context, builder, array).data
        address = builder.bitcast(builder.gep(data, [start]), _WHOLE.as_pointer())
        builder.store(whole, address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _whole), emit


@intrinsic
def _count_ones(typing_context: Any, number: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), emit


@intrinsic
def _trailing_zeros(typing_context: Any, number: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), emit


@intrinsic
def _load_codes(typing_context: Any, array: Any, row: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, row = args
        data = context.make_array(signature.args[0])(context, builder, array).data
        first = builder.gep(data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
        vector = ir.VectorType(ir.IntType(8), WIDTH)
        codes = builder.load(builder.bitcast(first, vector.as_pointer()), align=1)
        return builder.sitofp(codes, VECTOR)

    return LANE(array, types.intp), emit


@intrinsic
def _store_codes(typing_context: Any, array: Any, row: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, row, lane = args
        data = context.make_array(signature.args[0])(context, builder, array).data
        first = builder.gep(data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
        vector = ir.VectorType(ir.IntType(8), WIDTH)
        codes = builder.fptosi(lane, vector)
        builder.store(codes, builder.bitcast(first, vector.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANE), emit


@intrinsic
def _first(typing_context: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], cgutils.int32_t(0))

    return types.float64(LANE), emit


@intrinsic
def _where_greater(typing_context: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flags = builder.fcmp_ordered(">", *args)
        together = builder.bitcast(flags, ir.IntType(WIDTH))
        return builder.zext(together, ir.IntType(64))

    return types.int64(LANE, LANE), emit


@intrinsic
def _any_greater(typing_context: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flags = builder.fcmp_ordered(">", *args)
        together = builder.bitcast(flags, ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", together, ir.Constant(ir.IntType(WIDTH), 0))

    return types.boolean(LANE, LANE), emit


# Square root, absolute value and nearest whole number (halves to even) in every lane.
square_root = cast("Callable[[Lane], Lane]", _of_one(_named("sqrt")))
absolute = cast("Callable[[Lane], Lane]", _of_one(_named("fabs")))
nearest = cast("Callable[[Lane], Lane]", _of_one(_named("rint")))
# The larger and the smaller of two; where one is not a number, the second.
maximum = cast("Callable[[Lane, Lane], Lane]", _of_two(_greater))
minimum = cast("Callable[[Lane, Lane], Lane]", _of_two(_less))
# a * b + c, rounded once.
fused = cast("Callable[[Lane, Lane, Lane], Lane]", _of_three(_named("fma")))
# The 64 bits of every double as an integer, and back; shifts to the right bring in zeros.
bits = cast("Callable[[Lane], Bits]", _bits)
doubles = cast("Callable[[Bits], Lane]", _doubles)
# The same integer in every lane; 0, 1, ..., WIDTH - 1.
repeat = cast("Callable[[int], Bits]", _repeat)
numbered = cast("Callable[[], Bits]", _numbered)
# The 64-bit product of the low 32 bits of both; the order of all 64 bits reversed.
product = cast("Callable[[Bits, Bits], Bits]", _product)
reversed_bits = cast("Callable[[Bits], Bits]", _reversed)
# Row of a C-contiguous int64 array of shape (n, WIDTH), and a write to an array of shape (n,) from
# an index on.
load_whole = cast("Callable[[Indices, int], Bits]", _load_whole)
store_whole = cast("Callable[[Indices, int, Bits], None]", _store_whole)
# How many bits of a number are 1.
count_ones = cast("Callable[[int], int]", _count_ones)
# How many of the lowest bits of a number other than 0 are 0.
trailing_zeros = cast("Callable[[int], int]", _trailing_zeros)
# Row of a C-contiguous int8 array of shape (n, WIDTH), as doubles, and a write to such a row.
load_codes = cast("Callable[[Codes, int], Lane]", _load_codes)
store_codes = cast("Callable[[Codes, int, Lane], None]", _store_codes)
# The double in the first lane.
first = cast("Callable[[Lane], float]", _first)
# A number whose bit i is 1 where a > b in lane i.
where_greater = cast("Callable[[Lane, Lane], int]", _where_greater)
# Whether a > b in any lane.
any_greater = cast("Callable[[Lane, Lane], bool]", _any_greater)


def _extreme(name: str) -> Any:
    @intrinsic
    def function(typing_context: Any, a: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.DoubleType(), [VECTOR])
            full_name = f"llvm.vector.reduce.{name}.v{WIDTH}f64"
            reduce = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
                builder.module, kind, full_name
            )
            return builder.call(reduce, args, fastmath=("nnan",))

        return types.float64(LANE), emit

    return function


# The largest and the smallest of the lanes, none of which may be NaN.
largest = cast("Callable[[Lane], float]", _extreme("fmax"))
smallest = cast("Callable[[Lane], float]", _extreme("fmin"))
