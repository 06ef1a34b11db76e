#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
"""Models with several inputs, real, of integers and of a number a sample, and several outputs: the
program against derivatives by complex steps, and what it says where data do not fit.

    SCANTK=build/bin/scantk tests/onnx/test_inputs.py

Exits 77 without the Python package onnx."""
import functools
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "program"))
from program import MAX_RANKS, expect, must, np, read, run, run_cases, write_data  # noqa: E402
try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

N = 5
RANDOM = np.random.default_rng(0)
WEIGHTS = {"A": RANDOM.normal(size=(8, 6)), "V": RANDOM.normal(size=(3, 6)),
           "E": RANDOM.normal(size=(4, 6)), "B": RANDOM.normal(size=6),
           "P": RANDOM.normal(size=(6, 2)), "Q": RANDOM.normal(size=(6, 3))}
DATA = {"image": RANDOM.normal(size=(N, 2, 2, 2)), "vector": RANDOM.normal(size=(N, 3)),
        "ids": RANDOM.integers(-3, 9, size=(N, 4)), "factor": RANDOM.normal(size=N),
        "labels": np.array([0, 1, 2, 3, 4])}
TYPES = {"image": TensorProto.DOUBLE, "vector": TensorProto.DOUBLE, "ids": TensorProto.INT64,
         "factor": TensorProto.DOUBLE}


def network(weights, data):
    """Both outputs, one after the other: [N, 5]."""
    h = np.tanh(data["image"].reshape(len(data["image"]), -1) @ weights["A"]
                + data["vector"] @ weights["V"] + data["ids"] @ weights["E"] + weights["B"])
    return np.concatenate([h @ weights["P"], h * data["factor"][:, None] @ weights["Q"]], axis=1)


def jacobian(data):
    """[N, 5, parameters]"""
    columns = []
    for name, weight in WEIGHTS.items():
        for i in range(weight.size):
            step = np.zeros(weight.size, complex)
            step[i] = 1e-30j
            moved = dict(WEIGHTS, **{name: weight + step.reshape(weight.shape)})
            columns.append(network(moved, data).imag / 1e-30)
    return np.stack(columns, axis=-1)


def write_model(path, batch="batch", parameters=True):
    inputs = [helper.make_tensor_value_info(name, kind, [batch, *DATA[name].shape[1:]])
              for name, kind in TYPES.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [batch, size])
               for name, size in (("first", 2), ("second", 3))]
    nodes = [helper.make_node(*words[:1], words[1].split(), words[2:3], **(words + ({},))[3])
             for words in [
                 ("Flatten", "image", "flat"), ("MatMul", "flat A", "a"),
                 ("MatMul", "vector V", "v"), ("Cast", "ids", "real", {"to": TensorProto.DOUBLE}),
                 ("MatMul", "real E", "e"), ("Add", "a v", "av"), ("Add", "av e", "ave"),
                 ("Add", "ave B", "sum"), ("Tanh", "sum", "h"), ("MatMul", "h P", "first"),
                 ("Unsqueeze", "factor axis", "column"), ("Mul", "h column", "scaled"),
                 ("MatMul", "scaled Q", "second")]]
    constants = [numpy_helper.from_array(w, name) for name, w in WEIGHTS.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    model = helper.make_model(helper.make_graph(nodes, "inputs", inputs, outputs, constants),
                              opset_imports=[helper.make_opsetid("", 13)])
    if not parameters:
        helper.set_model_props(model, {"scantk.parameters": json.dumps([])})
    onnx.save(model, path)


def agree(found, expected, what):
    scale = np.max(np.abs(expected))
    expect(found.shape == expected.shape, f"{what}: {found.shape}, not {expected.shape}")
    difference = np.max(np.abs(found - expected)) / scale
    expect(difference < 1e-12, f"{what} differs by {difference:.3g}")


def refused(folder, code, text, *words):
    ended = run(folder, *words)
    expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0],
           f"not exit {code} with '{text}': {ended}")


def kernel_words(output, *more, data="data.h5", model="model.onnx", dtype="f64"):
    return ("kernel", "--model", model, "--inputs", data, "--dtype", dtype, "--quiet", *more,
            "--output", output)


def check_forward(folder):
    ended = must(folder, "forward", "--model", "model.onnx", "--inputs", "data.h5", "--dtype",
                 "f64", "--output", "f.h5", "--accuracy")
    found = read(os.path.join(folder, "f.h5"), "outputs")
    agree(found, network(WEIGHTS, DATA), "outputs")
    share = np.mean(np.argmax(found, axis=1) == DATA["labels"])
    expect(ended.out.split() == ["accuracy", f"{share:.6g}"], ended.out)


def check_kernel(folder, algorithm, ranks):
    output = f"k-{algorithm}-{ranks}.h5"
    must(folder, *kernel_words(output, "--algorithm", algorithm, "--block", "2x3"), ranks=ranks)
    J = jacobian(DATA)
    agree(read(os.path.join(folder, output), "kernel"), np.einsum("nop,mqp->nomq", J, J), output)


def check_sides(folder):
    must(folder, *kernel_words("sides.h5", "--range", "0:2", "--range2", "1:5", "--reduce",
                               "trace"))
    J = jacobian(DATA)
    agree(read(os.path.join(folder, "sides.h5"), "kernel"),
          np.einsum("nop,mop->nm", J[:2], J[1:]) / 5, "sides")


def check_output_name(folder):
    must(folder, *kernel_words("second.h5", "--output-name", "second", "--reserve"))
    J = jacobian(DATA)[:, 2:]
    agree(read(os.path.join(folder, "second.h5"), "kernel"), np.einsum("nop,mqp->nomq", J, J),
          "kernel of one output")
    origin = json.loads(read(os.path.join(folder, "second.h5"), "provenance"))
    expect(origin["output_name"] == "second", "provenance: output_name")
    refused(folder, 2, "output first now",
            *kernel_words("second.h5", "--output-name", "first", "--select-outputs", "0",
                          "--resume"))
    for command in ("kernel", "forward", "plan"):
        refused(folder, 2, "--output-name third: the outputs are first, second", command,
                "--model", "model.onnx", "--inputs", "data.h5", "--output-name", "third",
                "--output", "no.h5")
    must(folder, "forward", "--model", "model.onnx", "--inputs", "data.h5", "--dtype", "f64",
         "--output-name", "first", "--output", "first.h5")
    agree(read(os.path.join(folder, "first.h5"), "outputs"), network(WEIGHTS, DATA)[:, :2],
          "outputs of one")


def check_fixed(folder):
    """Axis none: all that the file calls a batch is one sample; data in a group."""
    write_model(os.path.join(folder, "fixed.onnx"), batch=N)
    write_data(os.path.join(folder, "fixed.h5"),
               **{"some/group/" + name: array[None] for name, array in DATA.items()})
    must(folder, "forward", "--model", "fixed.onnx", "--inputs", "fixed.h5:/some/group", "--dtype",
         "f64", "--batch-axis", "none", "--output", "fixed-f.h5")
    outputs = network(WEIGHTS, DATA)
    agree(read(os.path.join(folder, "fixed-f.h5"), "outputs"),
          np.concatenate([outputs[:, :2].ravel(), outputs[:, 2:].ravel()])[None], "one sample")
    must(folder, *kernel_words("fixed-k.h5", "--batch-axis", "none", model="fixed.onnx",
                               data="fixed.h5:/some/group"))
    J = jacobian(DATA)
    J = np.concatenate([J[:, :2].reshape(2 * N, -1), J[:, 2:].reshape(3 * N, -1)])
    agree(read(os.path.join(folder, "fixed-k.h5"), "kernel")[0, :, 0], J @ J.T, "one sample")


def check_no_parameters(folder):
    write_model(os.path.join(folder, "none.onnx"), parameters=False)
    must(folder, "forward", "--model", "none.onnx", "--inputs", "data.h5", "--dtype", "f64",
         "--output", "none.h5")
    agree(read(os.path.join(folder, "none.h5"), "outputs"), network(WEIGHTS, DATA), "no parameters")
    refused(folder, 2, "no tensor is a parameter",
            *kernel_words("no.h5", model="none.onnx"))


def check_refusals(folder):
    def words(name, **changes):
        data = {key: value for key, value in dict(DATA, **changes).items() if value is not None}
        write_data(os.path.join(folder, name), **data)
        return kernel_words("no.h5", data=name)

    refused(folder, 1, "no data set /vector", *words("a.h5", vector=None))
    refused(folder, 1, "3 samples of input 'vector', 5 of 'image'",
            *words("b.h5", vector=DATA["vector"][:3]))
    refused(folder, 2, "'vector' is [1, 3]", *words("c.h5", vector=np.ones((N, 2))))
    refused(folder, 2, "input 'ids' is of type i64", *words("d.h5", ids=np.ones((N, 4))))
    bad = DATA["vector"].copy()
    bad[2, 1] = np.nan
    refused(folder, 3, "sample 2 holds NaN or infinity (element 9 of input 'vector')",
            *words("e.h5", vector=bad))
    large = DATA["ids"].copy()
    large[1, 3] = 2**24 + 1
    must(folder, *words("f.h5", ids=large)[:-1], "f64.h5")
    refused(folder, 2, "sample 1: an integer of input 'ids' is 16777216, too large for f32",
            *kernel_words("no.h5", data="f.h5", dtype="f32"))
    np.save(os.path.join(folder, "one.npy"), DATA["vector"])
    refused(folder, 1, "inputs /image, /vector, /ids, /factor",
            *kernel_words("no.h5", data="one.npy"))


def check_info(folder):
    text = must(folder, "info", "model.onnx").out
    for line in ("image f64 [1, 2, 2, 2]", "ids i64 [1, 4]", "factor f64 [1]"):
        expect(line in text, f"no '{line}' in: {text}")
    described = json.loads(must(folder, "info", "model.onnx", "--json").out)
    expect([entry["name"] for entry in described["inputs"]] == list(TYPES), "names of inputs")
    expect(described["output_names"] == ["first", "second"], "names of outputs")


def cases(folder):
    write_model(os.path.join(folder, "model.onnx"))
    write_data(os.path.join(folder, "data.h5"), **DATA)
    for check in (check_forward, check_sides, check_output_name, check_fixed, check_no_parameters,
                  check_refusals, check_info):
        yield check.__name__, functools.partial(check, folder)
    for algorithm in ("jacobian", "ntvp", "structured"):
        for ranks in {1, min(3, MAX_RANKS)}:
            yield (f"{algorithm} on {ranks}",
                   functools.partial(check_kernel, folder, algorithm, ranks))


if __name__ == "__main__":
    sys.exit(run_cases(cases))
