# SPDX-License-Identifier: Apache-2.0
"""A jaxpr written as an ONNX graph (opset 17): what does not depend on an argument is computed here,
all else becomes a node by the rule of its primitive. Calls, scans and loops whose turns are known
are written out. Source of the primitives' meaning: the documentation of jax.lax."""
import re

import jax
import numpy
from onnx import helper, numpy_helper

from exporting import ExportError

BATCH = "batch"  # of symbolic sizes
OPSET = 17
RULES = {}


def rule(*names):
    def register(function):
        for name in names:
            RULES[name] = function
        return function
    return register


class Value:
    """A node's output, or an argument: `shape` as in the jaxpr, `held` as the ONNX value has it,
    aligned at the right, with 1 (or nothing) along axes that it is broadcast over."""

    def __init__(self, name, shape, dtype, held=None):
        self.name, self.shape, self.dtype = name, tuple(shape), dtype
        self.held = self.shape if held is None else tuple(held)


class Const:
    """What is known here."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = tuple(array.shape), array.dtype


class Graph:
    """Nodes and initializers as they are made; `doubtful` lists functions whose derivative the user
    defined, so that the file's may be another."""

    def __init__(self, taken):
        self.nodes, self.initializers, self.known, self.doubtful = [], [], {}, []
        self.taken, self.batch, self.maker = set(taken), None, {}

    def new_name(self, stem):
        name = f"{stem}{len(self.nodes)}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def emit(self, op, *inputs, domain="", **attributes):
        name = self.new_name(op.lower())
        node = helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        self.maker[name] = node
        return name

    def made_by(self, name, op):
        """The node behind a value, if it is one of this operator."""
        node = self.maker.get(name)
        return node if node is not None and node.op_type == op else None

    def constant(self, array):
        array = numpy.asarray(array, order="C")
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.known:
            name = f"constant{len(self.known)}"
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.known[key] = name
            self.initializers.append(numpy_helper.from_array(array, name))
        return self.known[key]

    def ints(self, values):
        return self.constant(numpy.array(list(values), numpy.int64))

    # ---- shapes ----

    def size(self, n):
        """A size as a name of [1] int64: a number, or a multiple of the batch."""
        if isinstance(n, (int, numpy.integer)):
            return self.ints([n])
        times = re.fullmatch(rf"(?:(\d+)\*)?{BATCH}", str(n))
        if not times:
            raise ExportError(f"a size is {n}")
        if not times[1]:
            return self.batch
        return self.emit("Mul", self.batch, self.ints([int(times[1])]))

    def sizes(self, shape):
        if all(isinstance(n, (int, numpy.integer)) for n in shape):
            return self.ints(shape)
        return self.emit("Concat", *(self.size(n) for n in shape), axis=0)

    def reshape(self, name, shape):
        unknown = [n for n in shape if not isinstance(n, (int, numpy.integer))]
        if len(unknown) > 1:
            raise ExportError(f"a shape is {tuple(shape)}")
        known = [n if isinstance(n, (int, numpy.integer)) else -1 for n in shape]
        return self.emit("Reshape", name, self.ints(known))

    # ---- operands ----

    def lazy(self, x):
        """(name, held) of an operand that may broadcast."""
        if isinstance(x, Value):
            return x.name, x.held
        array = numpy.asarray(x.array)
        if array.size > 1 and (array == array.flat[0]).all():
            array = array.flat[:1].reshape(())
        return self.constant(array), array.shape

    def ranked(self, x):
        """The same with as many axes as in the jaxpr."""
        name, held = self.lazy(x)
        missing = len(x.shape) - len(held)
        if missing:
            name = self.emit("Unsqueeze", name, self.ints(range(missing)))
        return name, (1,) * missing + tuple(held)

    def full(self, x):
        """The name of an operand that has its whole shape."""
        if isinstance(x, Const):
            return self.constant(numpy.asarray(x.array))
        if same_shape(x.held, x.shape):
            return x.name
        return self.emit("Expand", x.name, self.sizes(x.shape))


def same_shape(a, b):
    return len(a) == len(b) and all(x is y or x == y for x, y in zip(a, b))


def joined(helds):
    """The shape of values that broadcast with each other."""
    out = []
    for held in helds:
        held = list(held)
        while len(out) < len(held):
            out.insert(0, 1)
        for i in range(1, len(held) + 1):
            if not (isinstance(held[-i], (int, numpy.integer)) and held[-i] == 1):
                out[-i] = held[-i]
    return tuple(out)


def result(eqn, name, held=None):
    aval = eqn.outvars[0].aval
    return Value(name, aval.shape, aval.dtype, held)


def number(x, dtype):
    return numpy.asarray(x, dtype)


# ---- jaxprs ---------------------------------------------------------------------------------


def closed(jaxpr, consts=()):
    """(jaxpr, consts) of an open or closed one."""
    return (jaxpr.jaxpr, jaxpr.consts) if hasattr(jaxpr, "consts") else (jaxpr, consts)


def inline(graph, jaxpr, inputs):
    """The outputs of a jaxpr whose inputs are given."""
    inner, consts = closed(jaxpr)
    values = dict(zip(inner.constvars, map(Const, map(as_array, consts))))
    values.update(zip(inner.invars, inputs))

    def read(var):
        return Const(as_array(var.val, var.aval.dtype)) if hasattr(var, "val") else values[var]
    for eqn in inner.eqns:
        outputs = translate(graph, eqn, [read(var) for var in eqn.invars])
        values.update(zip(eqn.outvars, outputs))
    return [read(var) for var in inner.outvars]


def as_array(x, dtype=None):
    if hasattr(x, "shape") and not isinstance(x, numpy.generic):
        return x
    return numpy.asarray(x, dtype)


CALLS = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
         "remat": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr", "custom_vjp_call": "call_jaxpr",
         "custom_jvp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}


def translate(graph, eqn, inputs):
    name = eqn.primitive.name
    if name in ("scan", "while", "cond"):
        return RULES[name](graph, eqn, *inputs)
    if name in CALLS:
        jaxpr = eqn.params[CALLS[name] if CALLS[name] in eqn.params else "call_jaxpr"]
        if name.startswith("custom"):
            return custom(graph, eqn, jaxpr, inputs)
        return inline(graph, jaxpr, inputs)
    folded = fold(eqn, inputs)
    if folded is not None:
        return folded
    if name not in RULES:
        raise ExportError(f"the primitive {name} has no form in ONNX that is known here")
    made = RULES[name](graph, eqn, *inputs)
    return made if isinstance(made, list) else [made]


def fold(eqn, inputs):
    """What depends on no argument, computed; None where that cannot be."""
    symbolic = any(not isinstance(n, int) for var in eqn.outvars
                   for n in getattr(var.aval, "shape", ()))
    if symbolic or not all(isinstance(x, Const) for x in inputs):
        return None
    out = eqn.primitive.bind(*(x.array for x in inputs), **eqn.params)
    return [Const(x) for x in (out if eqn.primitive.multiple_results else [out])]


def where_defined(jaxpr):
    """File and name of the function that a jaxpr comes from, as far as JAX says."""
    info = getattr(closed(jaxpr)[0], "debug_info", None)
    return str(getattr(info, "func_src_info", "") or "")


def only_call(jaxpr):
    """What a jaxpr that is one call after the other calls."""
    inner = closed(jaxpr)[0]
    while len(inner.eqns) == 1 and inner.eqns[0].primitive.name in ("jit", "pjit"):
        inner = closed(inner.eqns[0].params["jaxpr"])[0]
    return inner


def custom(graph, eqn, jaxpr, inputs):
    """A function with a derivative of its own. JAX's have that of their body, but for relu, whose
    is 0 at 0; others are doubtful."""
    primitives = sorted(e.primitive.name for e in only_call(jaxpr).eqns)
    if primitives in (["max"], ["broadcast_in_dim", "max"]) and isinstance(inputs[-1], Value) \
            and len(inputs) == 1:
        name, held = graph.lazy(inputs[0])
        return [Value(graph.emit("Relu", name), inputs[0].shape, inputs[0].dtype, held)]
    origin = where_defined(jaxpr)
    if not re.search(r"jax/_src/|flax/|optax/", origin):
        graph.doubtful.append(origin or eqn.primitive.name)
    return inline(graph, jaxpr, inputs)


@rule("scan")
def scan(graph, eqn, *inputs):
    """Turn by turn."""
    p = eqn.params
    first, then = p["num_consts"], p["num_consts"] + p["num_carry"]
    fixed, carry, xs = list(inputs[:first]), list(inputs[first:then]), inputs[then:]
    turns = range(p["length"])
    stacks = []
    for i in reversed(turns) if p["reverse"] else turns:
        outputs = inline(graph, p["jaxpr"], fixed + carry + [taken(graph, x, i) for x in xs])
        carry = outputs[:len(carry)]
        stacks.append(outputs[len(carry):])
    if p["reverse"]:
        stacks.reverse()
    return carry + [stacked(graph, parts) for parts in zip(*stacks)]


def taken(graph, x, i):
    """x[i]"""
    if isinstance(x, Const):
        return Const(x.array[i])
    name, held = graph.ranked(x)
    at = i if held[0] == x.shape[0] else 0
    name = graph.emit("Gather", name, graph.constant(numpy.array(at, numpy.int64)), axis=0)
    return Value(name, x.shape[1:], x.dtype, held[1:])


def stacked(graph, parts):
    if all(isinstance(x, Const) for x in parts):
        return Const(numpy.stack([numpy.asarray(x.array) for x in parts]))
    names = [graph.emit("Unsqueeze", graph.full(x), graph.ints([0])) for x in parts]
    return Value(graph.emit("Concat", *names, axis=0), (len(parts), *parts[0].shape),
                 parts[0].dtype)


@rule("while")
def loop(graph, eqn, *inputs):
    """Turn by turn, as long as the condition can be computed here."""
    p = eqn.params
    first, then = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    asked, fixed, carry = list(inputs[:first]), list(inputs[first:then]), list(inputs[then:])
    while True:
        on = inline(graph, p["cond_jaxpr"], asked + carry)[0]
        if not isinstance(on, Const):
            raise ExportError("a loop (while_loop) ends by what the data are")
        if not on.array:
            return carry
        carry = inline(graph, p["body_jaxpr"], fixed + carry)


@rule("cond")
def cond(graph, eqn, index, *inputs):
    if not isinstance(index, Const):
        raise ExportError("a branch (cond, switch) depends on the data; jnp.where has both")
    branches = eqn.params["branches"]
    at = min(max(int(index.array), 0), len(branches) - 1)
    return inline(graph, branches[at], list(inputs))


# ---- element by element ---------------------------------------------------------------------


def elementwise(op, *order):
    """order: the jaxpr's operands in ONNX's order."""
    def make(graph, eqn, *inputs):
        names, helds = zip(*(graph.lazy(inputs[i]) for i in order or range(len(inputs))))
        return result(eqn, graph.emit(op, *names), joined(helds))
    return make


for _name, _op in {
        "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", 
        "min": "Min", "pow": "Pow", "neg": "Neg", "exp": "Exp", "log": "Log", "tanh": "Tanh",
        "logistic": "Sigmoid", "sqrt": "Sqrt", "abs": "Abs", "sign": "Sign", "sin": "Sin",
        "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh",
        "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf",
        "floor": "Floor", "ceil": "Ceil", "eq": "Equal", "lt": "Less", "le": "LessOrEqual",
        "gt": "Greater", "ge": "GreaterOrEqual", "and": "And", "or": "Or", "xor": "Xor",
        "not": "Not"}.items():
    RULES[_name] = elementwise(_op)
RULES["select_n"] = elementwise("Where", 0, 2, 1)


@rule("max")
def maximum(graph, eqn, a, b):
    """Of an empty maximum, -inf, nothing is left."""
    for bound, x in ((a, b), (b, a)):
        if isinstance(bound, Const) and bound.array.size and \
                (numpy.asarray(bound.array) == -numpy.inf).all():
            name, held = graph.lazy(x)
            return result(eqn, name, held)
    return elementwise("Max")(graph, eqn, a, b)


def chain(graph, eqn, x, *steps):
    """Functions of one number, one after the other: (operator, second operand or None)."""
    name, held = graph.lazy(x)
    for op, other in steps:
        second = [] if other is None else [graph.constant(number(other, x.dtype))]
        name = graph.emit(op, name, *second)
    return result(eqn, name, held)


@rule("ne")
def not_equal(graph, eqn, a, b):
    equal = elementwise("Equal")(graph, eqn, a, b)
    return result(eqn, graph.emit("Not", equal.name), equal.held)


@rule("rsqrt")
def rsqrt(graph, eqn, x):
    return chain(graph, eqn, x, ("Sqrt", None), ("Reciprocal", None))


@rule("log1p")
def log1p(graph, eqn, x):
    return chain(graph, eqn, x, ("Add", 1), ("Log", None))


@rule("expm1")
def expm1(graph, eqn, x):
    return chain(graph, eqn, x, ("Exp", None), ("Sub", 1))


@rule("exp2")
def exp2(graph, eqn, x):
    return chain(graph, eqn, x, ("Mul", numpy.log(2)), ("Exp", None))


@rule("erfc")
def erfc(graph, eqn, x):
    return chain(graph, eqn, x, ("Erf", None), ("Neg", None), ("Add", 1))


@rule("round")
def round_(graph, eqn, x):
    if int(eqn.params["rounding_method"]) != 1:
        raise ExportError("round away from zero; jnp.round rounds to even")
    return chain(graph, eqn, x, ("Round", None))


@rule("square", "integer_pow")
def integer_pow(graph, eqn, x):
    y = eqn.params.get("y", 2)
    name, held = graph.lazy(x)
    if y == 2:
        return result(eqn, graph.emit("Mul", name, name), held)
    if y == -1:
        return chain(graph, eqn, x, ("Reciprocal", None))
    return chain(graph, eqn, x, ("Pow", y))


@rule("clamp")
def clamp(graph, eqn, low, x, high):
    if isinstance(low, Const) and isinstance(high, Const) and low.shape == high.shape == ():
        name, held = graph.lazy(x)
        bounds = [graph.constant(numpy.asarray(bound.array)) for bound in (low, high)]
        return result(eqn, graph.emit("Clip", name, *bounds), held)
    raise ExportError("clip with bounds that are no constant numbers")


@rule("convert_element_type", "reduce_precision")
def convert(graph, eqn, x):
    to = numpy.dtype(eqn.outvars[0].aval.dtype)
    name, held = graph.lazy(x)
    if to != x.dtype:
        name = graph.emit("Cast", name, to=helper.np_dtype_to_tensor_dtype(to))
    return result(eqn, name, held)


@rule("copy", "copy_p", "device_put", "sharding_constraint", "optimization_barrier", "pvary",
      "mesh_cast")
def copies(graph, eqn, *inputs):
    return list(inputs)


@rule("stop_gradient")
def stop_gradient(graph, eqn, x):
    """ONNX has none: a function of this name is one for the program, for others an Identity."""
    name, held = graph.lazy(x)
    return result(eqn, graph.emit("StopGradient", name, domain="scantk"), held)


# ---- moves ----------------------------------------------------------------------------------


@rule("broadcast_in_dim")
def broadcast_in_dim(graph, eqn, x, *_):
    """Axes of size 1 where they must be there; nothing is repeated."""
    shape, at = eqn.outvars[0].aval.shape, eqn.params["broadcast_dimensions"]
    name, held = graph.lazy(x)
    held = list(held)
    places = list(at[len(at) - len(held):])  # of the axes that are held
    first = places[0] if places else len(shape)
    inserted = [d for d in range(first, len(shape)) if d not in places]
    if inserted:
        name = graph.emit("Unsqueeze", name, graph.ints(d - first for d in inserted))
    out = [1] * (len(shape) - first)
    for d, n in zip(places, held):
        out[d - first] = n
    return result(eqn, name, out)


@rule("reshape")
def reshape(graph, eqn, x, *_):
    if eqn.params.get("dimensions") is not None:
        raise ExportError("a reshape in another order of axes")
    return result(eqn, graph.reshape(graph.full(x), eqn.outvars[0].aval.shape))


@rule("squeeze")
def squeeze(graph, eqn, x):
    axes = [int(d) for d in eqn.params["dimensions"]]
    name, held = graph.ranked(x)
    kept = [n for d, n in enumerate(held) if d not in axes]
    return result(eqn, graph.emit("Squeeze", name, graph.ints(axes)) if axes else name, kept)


@rule("transpose")
def transpose(graph, eqn, x):
    order = [int(d) for d in eqn.params["permutation"]]
    name, held = graph.ranked(x)
    return result(eqn, permuted(graph, name, order), [held[d] for d in order])


def permuted(graph, name, order):
    if list(order) == list(range(len(order))):
        return name
    return graph.emit("Transpose", name, perm=[int(d) for d in order])


@rule("concatenate")
def concatenate(graph, eqn, *inputs):
    names = [graph.full(x) for x in inputs]
    return result(eqn, graph.emit("Concat", *names, axis=int(eqn.params["dimension"])))


def sliced(graph, name, shape, starts, ends, steps):
    """Without the axes that are taken whole."""
    cut = [d for d, n in enumerate(shape)
           if not (str(starts[d]) == "0" and str(ends[d]) == str(n) and steps[d] == 1)]
    if not cut:
        return name
    if not all(isinstance(n, (int, numpy.integer)) for d in cut for n in (starts[d], ends[d])):
        raise ExportError("a slice of the batch axis")
    return graph.emit("Slice", name, graph.ints(starts[d] for d in cut),
                      graph.ints(ends[d] for d in cut), graph.ints(cut),
                      graph.ints(steps[d] for d in cut))


@rule("slice")
def slice_(graph, eqn, x):
    p = eqn.params
    steps = p["strides"] or [1] * len(x.shape)
    return result(eqn, sliced(graph, graph.full(x), x.shape, p["start_indices"],
                              p["limit_indices"], steps))


@rule("dynamic_slice")
def dynamic_slice(graph, eqn, x, *starts):
    if not all(isinstance(start, Const) for start in starts):
        raise ExportError("a slice (dynamic_slice) begins where the data say")
    sizes = eqn.params["slice_sizes"]
    begin = [0 if size is n else min(max(int(start.array), 0), n - size)
             for start, size, n in zip(starts, sizes, x.shape)]
    ends = [n if size is n else first + size for first, size, n in zip(begin, sizes, x.shape)]
    return result(eqn, sliced(graph, graph.full(x), x.shape, begin, ends, [1] * len(sizes)))


@rule("split")
def split(graph, eqn, x):
    axis, at, outputs, name = int(eqn.params["axis"]), 0, [], graph.full(x)
    for var, size in zip(eqn.outvars, eqn.params["sizes"]):
        starts, ends = [0] * len(x.shape), list(x.shape)
        starts[axis], ends[axis] = at, at + size
        part = sliced(graph, name, x.shape, starts, ends, [1] * len(x.shape))
        outputs.append(Value(part, var.aval.shape, x.dtype))
        at += size
    return outputs


@rule("rev")
def rev(graph, eqn, x):
    axes = [int(d) for d in eqn.params["dimensions"]]
    last = -2**31
    return result(eqn, graph.emit("Slice", graph.full(x), graph.ints(-1 for _ in axes),
                                  graph.ints(last for _ in axes), graph.ints(axes),
                                  graph.ints(-1 for _ in axes)))


@rule("pad")
def pad(graph, eqn, x, value):
    low, high, inner = zip(*eqn.params["padding_config"])
    if any(inner):
        raise ExportError("lax.pad between elements")
    if not isinstance(value, Const):
        raise ExportError("lax.pad with a value that is no constant")
    name, held = graph.full(x), x.shape
    if min(low + high) < 0:
        starts = [max(-n, 0) for n in low]
        ends = [n if h >= 0 else n + h for n, h in zip(held, high)]
        name = sliced(graph, name, held, starts, ends, [1] * len(held))
    pads = [max(n, 0) for n in low + high]
    if any(pads):
        name = graph.emit("Pad", name, graph.ints(pads),
                          graph.constant(numpy.asarray(value.array)))
    return result(eqn, name)


@rule("iota")
def iota(graph, eqn):
    """Only where the batch is among the axes; all else is folded."""
    shape, axis = eqn.outvars[0].aval.shape, eqn.params["dimension"]
    if not isinstance(shape[axis], int):
        raise ExportError("numbers along the batch axis")
    held = [1] * (len(shape) - axis)
    held[0] = shape[axis]
    values = numpy.arange(shape[axis]).astype(eqn.outvars[0].aval.dtype).reshape(held)
    return result(eqn, graph.constant(values), held)


@rule("gather")
def gather(graph, eqn, x, indices):
    """One axis by indices, whole in the others; or constant indices of any kind."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    axes = tuple(numbers.start_index_map)
    whole = all(d in axes or size is n or size == n
                for d, (size, n) in enumerate(zip(sizes, x.shape)))
    if len(axes) != 1 or tuple(numbers.collapsed_slice_dims) != axes or not whole \
            or getattr(numbers, "operand_batching_dims", ()):
        if isinstance(indices, Const):
            return gather_constant(graph, eqn, x, indices)
        raise ExportError("a gather (indexing by data) other than x[:, i] along one axis")
    axis = axes[0]
    name = graph.emit("Gather", graph.full(x), row_numbers(graph, indices), axis=axis)
    count, rank = len(indices.shape) - 1, len(x.shape) + len(indices.shape) - 2
    taken_axes = [d for d in range(rank) if not axis <= d < axis + count]
    looked = iter(range(axis, axis + count))
    left = dict(zip(numbers.offset_dims, taken_axes))
    return result(eqn, permuted(graph, name, [left[d] if d in left else next(looked)
                                              for d in range(rank)]))


def row_numbers(graph, indices):
    """Without the last axis, and, as ONNX counts numbers below zero from the end, too, without what
    makes them positive; in the type that they came in."""
    if isinstance(indices, Const):
        return graph.constant(numpy.asarray(indices.array)[..., 0])
    name, last = graph.full(indices), graph.ints([len(indices.shape) - 1])
    node = graph.made_by(name, "Unsqueeze")
    if node is None or node.input[1] != last:
        return graph.emit("Squeeze", name, last)
    name, before = node.input[0], None
    while name != before:
        before = name
        cast, where = graph.made_by(name, "Cast"), graph.made_by(name, "Where")
        if cast is not None:
            name = cast.input[0]
        elif where is not None:
            less, add = (graph.made_by(where.input[i], op) for i, op in ((0, "Less"), (1, "Add")))
            if less is not None and add is not None and \
                    less.input[0] == add.input[0] == where.input[2]:
                name = where.input[2]
    return name


def gather_constant(graph, eqn, x, indices):
    """By the numbers of the elements that are taken; axis 0 stays an axis where it is whole."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    keeps = 0 not in numbers.start_index_map and 0 in numbers.offset_dims and \
        0 not in numbers.collapsed_slice_dims
    shape = ((1,) if keeps else x.shape[:1]) + tuple(x.shape[1:])
    if not all(isinstance(n, int) for n in shape):
        raise ExportError("indexing along the batch axis")
    sizes = ((1,) if keeps else tuple(sizes[:1])) + tuple(sizes[1:])
    elements = jax.numpy.arange(int(numpy.prod(shape))).reshape(shape)
    places = numpy.asarray(eqn.primitive.bind(elements, indices.array,
                                              **dict(eqn.params, slice_sizes=sizes)))
    flat = graph.reshape(graph.full(x), (x.shape[:1] if keeps else ()) + (places_of(shape, keeps),))
    name = graph.emit("Gather", flat, graph.ints(places.reshape(-1)), axis=int(keeps))
    return result(eqn, graph.reshape(name, eqn.outvars[0].aval.shape))


def places_of(shape, keeps):
    return int(numpy.prod(shape[1:] if keeps else shape))


# ---- sums and products ----------------------------------------------------------------------


def reduction(op):
    def make(graph, eqn, x):
        axes = [int(d) for d in eqn.params["axes"]]
        name = graph.full(x)
        if not axes:
            return result(eqn, name)
        if op == "ReduceSum":
            return result(eqn, graph.emit(op, name, graph.ints(axes), keepdims=0))
        return result(eqn, graph.emit(op, name, axes=axes, keepdims=0))
    return make


for _name, _op in {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
                   "reduce_prod": "ReduceProd"}.items():
    RULES[_name] = reduction(_op)


@rule("argmax", "argmin")
def arg(graph, eqn, x):
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[eqn.primitive.name]
    name = graph.emit(op, graph.full(x), axis=int(eqn.params["axes"][0]), keepdims=0)
    to = helper.np_dtype_to_tensor_dtype(numpy.dtype(eqn.outvars[0].aval.dtype))
    return result(eqn, graph.emit("Cast", name, to=to))


@rule("cumsum")
def cumsum(graph, eqn, x):
    axis = graph.constant(numpy.array(eqn.params["axis"], numpy.int64))
    return result(eqn, graph.emit("CumSum", graph.full(x), axis,
                                  reverse=int(eqn.params["reverse"])))


@rule("dot_general")
def dot_general(graph, eqn, a, b):
    (sum_a, sum_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    free_a, free_b = (tuple(d for d in range(len(x.shape)) if d not in (*sums, *batch))
                      for x, sums, batch in ((a, sum_a, batch_a), (b, sum_b, batch_b)))
    left, right = graph.full(a), graph.full(b)
    if len(sum_a) == 1 and len(free_b) == 1 and \
            (not batch_a and len(b.shape) == 2 or len(free_a) == 1):
        left = permuted(graph, left, (*batch_a, *free_a, *sum_a))
        right = permuted(graph, right, (*batch_b, *sum_b, *free_b))
        return result(eqn, graph.emit("MatMul", left, right))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names_a, names_b = {}, {}
    for d, e in (*zip(batch_a, batch_b), *zip(sum_a, sum_b)):
        names_a[d] = names_b[e] = next(letters)
    names_a.update((d, next(letters)) for d in free_a)
    names_b.update((d, next(letters)) for d in free_b)
    terms = ["".join(names[d] for d in range(len(names))) for names in (names_a, names_b)]
    out = "".join([names_a[d] for d in (*batch_a, *free_a)] + [names_b[d] for d in free_b])
    return result(eqn, graph.emit("Einsum", left, right, equation=f"{','.join(terms)}->{out}"))


@rule("conv_general_dilated")
def convolution(graph, eqn, x, kernel):
    p, numbers = eqn.params, eqn.params["dimension_numbers"]
    if p["batch_group_count"] != 1:
        raise ExportError("a convolution with batch_group_count")
    data = permuted(graph, graph.full(x), numbers.lhs_spec)
    weight = permuted(graph, graph.full(kernel), numbers.rhs_spec)
    taps = [kernel.shape[d] for d in numbers.rhs_spec[2:]]
    low, high = zip(*p["padding"]) if p["padding"] else ((), ())
    if any(n != 1 for n in p["lhs_dilation"]):
        name = transposed_convolution(graph, p, data, weight, taps, low, high)
    else:
        if min(low + high, default=0) < 0:
            raise ExportError("a convolution with negative padding")
        name = graph.emit("Conv", data, weight, kernel_shape=taps, pads=[*low, *high],
                          strides=list(p["window_strides"]), dilations=list(p["rhs_dilation"]),
                          group=p["feature_group_count"])
    back = numpy.argsort(numbers.out_spec)
    return result(eqn, permuted(graph, name, back))


def transposed_convolution(graph, p, data, weight, taps, low, high):
    """A convolution of data with zeros between them is a ConvTranspose by the kernel turned round."""
    if any(n != 1 for n in p["window_strides"]) or p["feature_group_count"] != 1:
        raise ExportError("a transposed convolution with strides or groups")
    axes = list(range(2, 2 + len(taps)))
    weight = graph.emit("Slice", weight, graph.ints(-1 for _ in axes),
                        graph.ints(-2**31 for _ in axes), graph.ints(axes),
                        graph.ints(-1 for _ in axes))
    weight = permuted(graph, weight, [1, 0, *axes])
    reach = [(n - 1) * d for n, d in zip(taps, p["rhs_dilation"])]
    pads_low = [r - n for r, n in zip(reach, low)]
    pads_high = [r - n for r, n in zip(reach, high)]
    more = [max(-n, 0) for n in pads_high]
    if min(pads_low, default=0) < 0 or any(m >= s for m, s in zip(more, p["lhs_dilation"])):
        raise ExportError("a transposed convolution with more padding than its kernel reaches")
    return graph.emit("ConvTranspose", data, weight, kernel_shape=taps,
                      strides=list(p["lhs_dilation"]), dilations=list(p["rhs_dilation"]),
                      pads=[*pads_low, *(max(n, 0) for n in pads_high)], output_padding=more)


@rule("reduce_window_max", "reduce_window_sum", "reduce_window_min")
def pooling(graph, eqn, x):
    """Axis 0 and one more without a window stand in front."""
    p, window = eqn.params, list(eqn.params["window_dimensions"])
    strides, padding = list(p["window_strides"]), list(p["padding"])
    if any(n != 1 for n in (*p["base_dilation"], *p["window_dilation"])):
        raise ExportError("a pooling with dilation")
    plain = [d for d in range(len(window)) if window[d] == strides[d] == 1 and not any(padding[d])]
    if eqn.primitive.name.endswith("min") or 0 not in plain:
        raise ExportError("a window over the batch axis, or of minima")
    front = [0] + [d for d in plain if d][-1:]
    order = front + [d for d in range(len(window)) if d not in front]
    name = permuted(graph, graph.full(x), order)
    if len(front) == 1:
        name = graph.emit("Unsqueeze", name, graph.ints([1]))
    name = pooled(graph, eqn, name, [(window[d], strides[d], padding[d])
                                     for d in order[len(front):]])
    if len(front) == 1:
        name = graph.emit("Squeeze", name, graph.ints([1]))
    return result(eqn, permuted(graph, name, numpy.argsort(order)))


def pooled(graph, eqn, name, axes):
    window, strides, padding = zip(*axes)
    words = {"kernel_shape": list(window), "strides": list(strides),
             "pads": [n[0] for n in padding] + [n[1] for n in padding]}
    if eqn.primitive.name == "reduce_window_max":
        return graph.emit("MaxPool", name, **words)
    name = graph.emit("AveragePool", name, count_include_pad=1, **words)
    count = number(numpy.prod(window), eqn.outvars[0].aval.dtype)
    return graph.emit("Mul", name, graph.constant(count))


# ---- the whole ------------------------------------------------------------------------------


def needed(nodes, outputs):
    """The nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if node.output[0] in wanted:
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1], wanted


def stop_function():
    return helper.make_function("scantk", "StopGradient", ["x"], ["y"],
                                [helper.make_node("Identity", ["x"], ["y"])],
                                [helper.make_opsetid("", OPSET)])


def value_info(name, shape, dtype):
    sizes = [n if isinstance(n, (int, numpy.integer)) else str(n) for n in shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), sizes)


def to_onnx(jaxpr, parameters, inputs):
    """(ModelProto, doubtful functions) of a closed jaxpr with one output, whose arguments are
    parameters, a list (name, array), then inputs, a list of names."""
    avals = [var.aval for var in jaxpr.jaxpr.invars]
    names = [name for name, _ in parameters] + inputs
    graph = Graph(names + ["output"])
    arguments = [Value(name, aval.shape, aval.dtype) for name, aval in zip(names, avals)]
    first = arguments[len(parameters)]
    if first.shape and not isinstance(first.shape[0], int):
        graph.batch = graph.emit("Gather", graph.emit("Shape", first.name), graph.ints([0]))
    outputs = inline(graph, jaxpr, arguments)
    if not isinstance(outputs[0], Value):
        raise ExportError("the function's value does not depend on its arguments")
    graph.nodes.append(helper.make_node("Identity", [graph.full(outputs[0])], ["output"]))
    nodes, wanted = needed(graph.nodes, ["output"])
    proto = helper.make_graph(
        nodes, "jax", [value_info(x.name, x.shape, x.dtype) for x in arguments[len(parameters):]],
        [value_info("output", outputs[0].shape, outputs[0].dtype)],
        [numpy_helper.from_array(numpy.asarray(array), name) for name, array in parameters]
        + [tensor for tensor in graph.initializers if tensor.name in wanted])
    opsets = [helper.make_opsetid("", OPSET)]
    functions = [stop_function()] if any(n.domain for n in nodes) else []
    if functions:
        opsets.append(helper.make_opsetid("scantk", 1))
    model = helper.make_model(proto, opset_imports=opsets, functions=functions,
                              producer_name="scantk export_jax")
    model.ir_version = 8
    return model, graph.doubtful
