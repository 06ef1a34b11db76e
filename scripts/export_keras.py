#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a Keras model (Keras 3) as an ONNX file in which every weight is found again.

    scripts/export_keras.py model.keras -o model.onnx
    scripts/export_keras.py MODULE:FUNCTION -o model.onnx      FUNCTION() returns a keras.Model

In inference mode: dropout does nothing, BatchNormalization has its moving statistics, which are no
parameters. The parameters are the model's trainable weights, named by their paths; the file's
metadata `scantk.parameters` list them. --input-shape is needed for a model that has not been built.
With Keras on JAX the graph is made as by export_jax.py, with Keras on TensorFlow by tf2onnx, in both
cases with the weights as arguments, so that nothing can be folded into them. KERAS_BACKEND chooses;
without it that of keras.json, or the one that is installed.
The script compares outputs and a kernel of two samples by scantk with the framework's own. Needs the
Python packages keras, onnx and h5py, and jax or tensorflow and tf2onnx.
"""
import importlib.util
import logging
import os
import sys

if "KERAS_BACKEND" not in os.environ and not importlib.util.find_spec("tensorflow"):
    os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import keras
    import numpy
    import onnx
    from onnx import numpy_helper
    from exporting import (ROWS, ExportError, input_names, load_function, parser_of, prove, rename,
                           report, run_script, save, set_metadata, sizes_of, unproved)
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"export_keras: error: {missing} for {sys.executable}; pip install keras jax onnx h5py")

ONE = "one of Erfc"


def named(variables, taken):
    """{path: value}; a path that stands twice gets a number."""
    out = {}
    for variable in variables:
        name = variable.path
        while name in out or name in taken:
            name += "_"
        out[name] = variable.value
    return out


def stateless(model):
    """(f, trained, others): f(trained, others, *inputs) is the model in inference mode."""
    trained = named(model.trainable_variables, ())
    others = named(model.non_trainable_variables, trained)

    def f(trained, others, *x):
        given = x[0] if len(x) == 1 else list(x)
        return model.stateless_call(list(trained.values()), list(others.values()), given,
                                    training=False)[0]
    return f, trained, others


# ---- on JAX ---------------------------------------------------------------------------------


def export_by_jax(model, inputs):
    import export_jax
    f, trained, others = stateless(model)
    variables = {"params": trained, **({"others": others} if others else {})}

    def network(variables, *x):
        return f(Ordered(trained, variables["params"]), Ordered(others, variables.get("others")),
                 *x)
    proto, doubtful, fixed = export_jax.export_function(network, variables, inputs)
    if doubtful and unproved():
        raise ExportError(f"{doubtful[0]} has a derivative of its own; whether it is that of its "
                          f"body was {unproved()}")
    rename(proto.graph, {f"{part}/{name}": name for part, there in variables.items()
                         for name in there})
    set_metadata(proto, trained)
    return proto, fixed, lambda: export_jax.derivatives(network, variables, inputs)


class Ordered(dict):
    """The values of `there` in the order of `like`: a pytree's dict is sorted."""

    def __init__(self, like, there):
        super().__init__((name, there[name]) for name in like)


# ---- on TensorFlow --------------------------------------------------------------------------


def export_by_tensorflow(model, inputs):
    import tensorflow as tf
    try:
        import tf2onnx
    except ImportError as missing:
        raise ExportError(f"{missing}; pip install tf2onnx, or set KERAS_BACKEND=jax") from missing
    f, trained, others = stateless(model)
    names = [*trained, *others]
    values = [*trained.values(), *others.values()]
    labels = [f"weight{i}" for i in range(len(names))] + input_names(inputs)
    signature = [tf.TensorSpec(v.shape, v.dtype, name=label) for v, label in zip(values, labels)]
    signature += [tf.TensorSpec((None, *x.shape[1:]), tf.as_dtype(x.dtype), name=label)
                  for x, label in zip(inputs, labels[len(names):])]

    def flat(*arguments):
        first, then = len(trained), len(names)
        return f(dict(zip(trained, arguments[:first])), dict(zip(others, arguments[first:then])),
                 *arguments[then:])
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it complains of what we mend
    proto, _ = tf2onnx.convert.from_function(tf.function(flat), signature, opset=17)
    write_erfc(proto.graph)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as problem:
        raise ExportError("tf2onnx cannot write it, Keras on JAX may (KERAS_BACKEND=jax): "
                          + str(problem).splitlines()[0]) from problem
    bind(proto, labels, names, values)
    set_metadata(proto, trained)
    return proto, None, lambda: derivatives_by_tensorflow(model, inputs)


def write_erfc(graph):
    """1 - Erf for the Erfc that tf2onnx leaves."""
    types = {t.name: t.data_type for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        x, y = node.input[0], node.output[0]
        for op, inputs, output in (("Erf", [x], y + ".erf"), ("Neg", [y + ".erf"], y + ".neg"),
                                   ("CastLike", [ONE, x], y + ".one"),
                                   ("Add", [y + ".neg", y + ".one"], y)):
            nodes.append(onnx.helper.make_node(op, inputs, [output], name=output))
        if ONE not in types:
            graph.initializer.append(numpy_helper.from_array(numpy.array(1, numpy.float32), ONE))
            types[ONE] = 1
    del graph.node[:]
    graph.node.extend(nodes)


def bind(proto, labels, names, values):
    """Arguments that are weights become initializers with the weights' names."""
    given = {i.name: i.name.split(":")[0] for i in proto.graph.input}
    kept = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in proto.graph.input
            if given[i.name] not in labels[:len(names)]]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    renamed = dict(zip(labels, names))
    rename(proto.graph, {name: renamed.get(label, label) for name, label in given.items()})
    proto.graph.initializer.extend(numpy_helper.from_array(numpy.asarray(value), name)
                                   for name, value in zip(names, values))


def derivatives_by_tensorflow(model, inputs):
    """Outputs [N, O], and the Jacobian [N, Q, P] of the first outputs."""
    import tensorflow as tf
    given = inputs[0] if len(inputs) == 1 else list(inputs)
    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(given, training=False)
        flat = tf.reshape(outputs, (outputs.shape[0], -1))
        chosen = [flat[n, o] for n in range(flat.shape[0]) for o in range(min(ROWS, flat.shape[1]))]
    rows = [numpy.concatenate([dense(g).reshape(-1) for g in tape.gradient(
        y, variables, unconnected_gradients="zero")]) for y in chosen]
    return (flat.numpy().astype(float),
            numpy.stack(rows).astype(float).reshape(flat.shape[0], -1, len(rows[0])))


def dense(gradient):
    import tensorflow as tf
    return numpy.asarray(tf.convert_to_tensor(gradient))


# ---- both -----------------------------------------------------------------------------------


def example_inputs(model, shapes):
    """Two samples; small whole numbers where the model takes integers."""
    random = numpy.random.default_rng(0)
    if shapes:
        kinds = [(sizes, keras.config.floatx()) for sizes in sizes_of(shapes)]
    elif not getattr(model, "inputs", None):
        raise ExportError("--input-shape is needed: the model has not been built")
    else:
        kinds = [(x.shape[1:], x.dtype) for x in model.inputs]
    for sizes, _ in kinds:
        if None in sizes:
            raise ExportError(f"--input-shape is needed: the model's is {tuple(sizes)}")
    return [random.integers(0, 2, [2, *sizes]).astype(dtype) if "int" in dtype
            else random.standard_normal([2, *sizes]).astype(dtype) for sizes, dtype in kinds]


def export_model(model, inputs):
    """(ModelProto, why the batch is fixed or None, derivatives()); `inputs` are example arrays with
    a batch axis in front. derivatives() gives outputs [N, O] and Jacobian [N, Q, P]."""
    backend = keras.backend.backend()
    if not model.built:
        model(inputs[0] if len(inputs) == 1 else inputs)
    if backend == "jax":
        return export_by_jax(model, inputs)
    if backend == "tensorflow":
        return export_by_tensorflow(model, inputs)
    raise ExportError(f"Keras on {backend}; on torch, export the module by export_torch.py, or set "
                      "KERAS_BACKEND to jax or tensorflow")


def parse():
    parser = parser_of(__doc__, "model", "MODEL.keras|MODULE:FUNCTION", "32x32x3")
    parser.add_argument("--double", action="store_true", help="make and store it in f64")
    return parser.parse_args()


def use_double():
    """For the models that are made from now on."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    from keras.src.backend.common import dtypes
    getattr(dtypes, "BIT64_TO_BIT32_DTYPE", {}).clear()  # else tanh and its like go to f32
    if keras.backend.backend() == "jax":
        import jax
        jax.config.update("jax_enable_x64", True)


def load(arguments):
    if arguments.double:
        use_double()
    if arguments.model.endswith((".keras", ".h5")):
        if not os.path.exists(arguments.model):
            raise ExportError(f"{arguments.model}: no such file")
        return keras.saving.load_model(arguments.model, compile=False)
    return load_function(arguments.model)()


def main():
    arguments = parse()
    model = load(arguments)
    inputs = example_inputs(model, arguments.input_shape)
    proto, fixed, derivatives = export_model(model, inputs)
    save(proto, arguments.output)
    if fixed:
        print(f"export_keras: the batch axis has the size 1: {fixed}", file=sys.stderr)
    checked = prove(arguments.output, inputs, derivatives, 1e-10 if arguments.double else 1e-5)
    weights = model.trainable_variables
    report(arguments.output, weights, weights, checked)


if __name__ == "__main__":
    run_script("export_keras", main)
