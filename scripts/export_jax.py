#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a JAX function as an ONNX file in which every parameter is found again.

    scripts/export_jax.py MODULE:FUNCTION --input-shape 32x32x3 -o model.onnx

FUNCTION() returns (f, parameters) or (f, parameters, inputs): f(parameters, *inputs) is the network
on a batch, one array whose axis 0 is the batch's; parameters are a pytree of arrays (of flax's
variables, what stands under "params"); inputs are an example batch, or several in a tuple. MODULE is
a module's name or a .py file. --input-shape is the shape of ONE sample, once per input.

The file's parameters have the names of the pytree ("params/Dense_0/kernel"), which its metadata
`scantk.parameters` list. They are arguments of the graph while it is made, so that nothing can be
folded into them. The batch axis stays free, or, where the function does not work for any size, has
the size 1. stop_gradient stays one.
The script compares, in double precision, the outputs and a kernel of two samples by scantk with
those by jax.vjp. Needs the Python packages jax, onnx and h5py (for flax, what the module imports).
"""
import sys

try:
    import jax
    import numpy
    from exporting import (ROWS, ExportError, difference, input_names, load_function, parser_of,
                           prove, report, run_script, save, set_metadata, sizes_of, unproved)
    from jaxpr_to_onnx import BATCH, to_onnx
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"export_jax: error: {missing} for {sys.executable}; pip install jax onnx h5py")


def part_name(key):
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def named_leaves(tree):
    """[(name, array)] of a pytree."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [("/".join(map(part_name, path)) or "parameter", leaf) for path, leaf in leaves]


def trained(tree, leaves):
    """The names of the parameters: the real leaves, of flax's variables those under "params"."""
    flax = hasattr(tree, "keys") and "params" in tree
    return [name for name, leaf in leaves if is_real(leaf)
            and (not flax or name.startswith("params/"))]


def is_real(leaf):
    return jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)


def check_types(leaves):
    for name, leaf in leaves:
        if is_real(leaf) and leaf.dtype not in (numpy.float32, numpy.float64):
            raise ExportError(f"{name} is {leaf.dtype}; make it float32 before the export")


def one_array(f):
    """f, which must give one array with a batch axis."""
    def checked(*arguments):
        leaves = jax.tree_util.tree_leaves(f(*arguments))
        if len(leaves) != 1 or not leaves[0].shape:
            raise ExportError("the function must return one array [batch, ...]")
        return leaves[0]
    return checked


def trace(f, parameters, inputs, batch):
    """The jaxpr of f for a batch of this size, with all leaves as arguments."""
    leaves, tree = jax.tree_util.tree_flatten(parameters)

    def flat(*arguments):
        return f(tree.unflatten(arguments[:len(leaves)]), *arguments[len(leaves):])
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    shapes += [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in inputs]
    return jax.make_jaxpr(flat)(*shapes)


def check_samples(f, parameters, inputs):
    """The function must be one of each sample."""
    f = jax.jit(f)
    whole = numpy.asarray(f(parameters, *inputs))
    if whole.shape[0] != inputs[0].shape[0]:
        raise ExportError(f"the function returns {whole.shape} for a batch of {inputs[0].shape[0]}")
    for n in range(len(whole)):
        alone = numpy.asarray(f(parameters, *(x[n:n + 1] for x in inputs)))
        if not difference(alone, whole[n:n + 1]) < 1e-3:
            raise ExportError("the function mixes the samples of a batch (BatchNorm in training "
                              "mode?)")


def export_function(f, parameters, inputs):
    """(ModelProto, what of it is doubtful, why the batch is fixed or None); `inputs` is a list of
    example arrays with a batch axis in front."""
    f = one_array(f)
    parameters = jax.tree_util.tree_map(jax.numpy.asarray, parameters)
    check_samples(f, parameters, inputs)
    leaves, names, fixed = named_leaves(parameters), input_names(inputs), None
    check_types(leaves)
    try:
        from jax import export
        batch, = export.symbolic_shape(BATCH)
        proto, doubtful = to_onnx(trace(f, parameters, inputs, batch), leaves, names)
    except Exception as problem:  # of the user's code, for which sizes are no longer numbers
        fixed = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        proto, doubtful = to_onnx(trace(f, parameters, inputs, 1), leaves, names)
    set_metadata(proto, trained(parameters, leaves))
    return proto, doubtful, fixed


def in_double(tree):
    """Its real leaves as f64."""
    def widened(x):
        return numpy.asarray(x).astype(numpy.float64 if is_real(x) else x.dtype)
    return jax.tree_util.tree_map(widened, tree)


def derivatives(f, parameters, inputs):
    """In f64: outputs [N, O], and the Jacobian [N, Q, P] of the first outputs."""
    names = set(trained(parameters, named_leaves(parameters)))
    was = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        parameters, inputs = in_double(parameters), in_double(inputs)
        outputs, pullback = jax.vjp(jax.jit(lambda p: f(p, *inputs)), parameters)
        flat = numpy.asarray(outputs).reshape(len(outputs), -1)
        count = min(ROWS, flat.shape[1])
        rows = []
        for n, o in numpy.ndindex(len(flat), count):
            seed = numpy.zeros(flat.shape)
            seed[n, o] = 1
            seed = jax.numpy.asarray(seed.reshape(outputs.shape), outputs.dtype)
            leaves = named_leaves(pullback(seed)[0])
            rows.append(numpy.concatenate([numpy.asarray(leaf, numpy.float64).reshape(-1)
                                           for name, leaf in leaves if name in names]))
        return flat, numpy.stack(rows).reshape(len(flat), count, -1)
    finally:
        jax.config.update("jax_enable_x64", was)


def example_inputs(parameters, shapes):
    dtype = next((leaf.dtype for _, leaf in named_leaves(parameters) if is_real(leaf)),
                 numpy.float32)
    random = numpy.random.default_rng(0)
    return [random.standard_normal([2, *sizes]).astype(dtype) for sizes in sizes_of(shapes)]


def parse():
    parser = parser_of(__doc__, "function", "MODULE:FUNCTION", "32x32x3")
    parser.add_argument("--double", action="store_true", help="trace and store in double precision")
    return parser.parse_args()


def load(arguments):
    """f, parameters, and a list of inputs of two samples."""
    if arguments.double:
        jax.config.update("jax_enable_x64", True)
    made = load_function(arguments.function)()
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise ExportError(f"{arguments.function} must return (f, parameters[, inputs])")
    f, parameters = made[:2]
    inputs = made[2] if len(made) == 3 else None
    if arguments.input_shape:
        inputs = example_inputs(parameters, arguments.input_shape)
    if inputs is None:
        raise ExportError("--input-shape is needed: the function returns no example inputs")
    inputs = [numpy.asarray(x)[:2] for x in (inputs if isinstance(inputs, (tuple, list))
                                             else [inputs])]
    if arguments.double:
        parameters, inputs = in_double(parameters), in_double(inputs)
    return f, parameters, inputs


def main():
    arguments = parse()
    f, parameters, inputs = load(arguments)
    proto, doubtful, fixed = export_function(f, parameters, inputs)
    if doubtful and unproved():
        raise ExportError(f"{doubtful[0]} has a derivative of its own, which the file cannot have; "
                          f"whether it is that of its body was {unproved()}")
    save(proto, arguments.output)
    if fixed:
        print(f"export_jax: the batch axis has the size 1: {fixed}", file=sys.stderr)
    checked = prove(arguments.output, inputs, lambda: derivatives(one_array(f), parameters, inputs),
                    1e-10 if arguments.double else 1e-5)
    leaves = dict(named_leaves(parameters))
    names = trained(parameters, leaves.items())
    report(arguments.output, names, [leaves[name] for name in names], checked)


if __name__ == "__main__":
    run_script("export_jax", main)
