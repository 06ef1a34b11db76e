#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 900
"""The conformance cases of ONNX: each gives the outputs that the standard says, or is refused in one
line; which are refused is written down in conformance_refused.py.

    SCANTK=build/bin/scantk tests/onnx/test_conformance.py [--pypi | --data FOLDER] [--derivatives]
        [-v] [PATTERN]

Inputs that steer an operator (shapes, axes, indices, conditions, bounds) become constants of the
file, all others are the data of one sample. Files that are tried: those of the package
libonnx-testdata, or, with --pypi, the node cases in the installed Python package onnx; of these,
whose number grows with its version, those of operators that conformance_refused.py does not list pass
as well, but for what it lists by name. With --derivatives what passes is also differentiated: the real
inputs move along a direction with a parameter and with the data; the slope by the parameter, as the
kernel of two algorithms has it, is compared with differences over the data. Exits 77 where there are
no cases."""
import argparse
import collections
import concurrent.futures
import fnmatch
import glob
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "program"))
try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from conformance_refused import CASES, NEWEST, OPERATORS
    from program import Failure, must, read, run, write_data
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

DATA = "/usr/share/libonnx-testdata/data"
# Operand slots that a network has as constants.
STEERING = {
    "BitShift": {1}, "CenterCropPad": {1}, "Clip": {1, 2}, "Compress": {1}, "ConstantOfShape": {0},
    "CumSum": {1}, "Dropout": {1, 2}, "Expand": {1}, "Gather": {1}, "GatherElements": {1},
    "GatherND": {1}, "If": {0}, "Loop": {0, 1}, "MaxUnpool": {1, 2}, "OneHot": {1, 2},
    "Pad": {1, 2, 3}, "Range": {0, 1, 2}, "Reshape": {1}, "Resize": {1, 2, 3}, "RoiAlign": {2},
    "ScatterElements": {1}, "Scatter": {1}, "ScatterND": {1}, "Slice": {1, 2, 3, 4}, "Split": {1},
    "Squeeze": {1}, "Tile": {1}, "TopK": {1}, "Trilu": {1}, "DFT": {1, 2}, "STFT": {1, 3}, "CumProd": {1},
    "HannWindow": {0}, "HammingWindow": {0}, "BlackmanWindow": {0}, "MelWeightMatrix": {0, 1, 2, 3, 4},
    "Attention": {6}, "TensorScatter": {2}, "Unsqueeze": {1}, "Upsample": {1},
    "Where": {0}, "LSTM": {4}, "GRU": {4}, "RNN": {4}, "AffineGrid": {1}, "Col2Im": {1, 2},
    "NegativeLogLikelihoodLoss": {1}, "SoftmaxCrossEntropyLoss": {1}, "ReverseSequence": {1},
    **{"Reduce" + name: {1} for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min",
                                         "Prod", "Sum", "SumSquare")}}
REAL = {TensorProto.FLOAT: 1e-4, TensorProto.DOUBLE: 1e-4, TensorProto.FLOAT16: 2e-3,
        TensorProto.BFLOAT16: 2e-2}  # and how closely results agree, relative to the largest
ROUNDED = (  # to four or five digits, in the case, or in its pi
    "test_averagepool_2d_ceil_last_window_starts_on_pad", "test_gridsample_bicubic*",
    "test_hannwindow*", "test_hammingwindow*", "test_blackmanwindow*")
UNREAL = {TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128}


def load_tensor(path):
    tensor = TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return tensor


def to_array(tensor, kind):
    """Reals of 16 bits and less as f32."""
    array = numpy_helper.to_array(tensor)
    if kind == TensorProto.BFLOAT16 and array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    small = array.dtype == np.float16 or array.dtype.isbuiltin != 1
    return array.astype(np.float32) if small else array


def expected_output(where, number, kind):
    path = os.path.join(where, f"output_{number}.pb")
    return to_array(load_tensor(path), kind).astype(np.float64)


def is_tensor(value):
    return value.type.WhichOneof("value") == "tensor_type"


def steering_inputs(graph):
    """Names that stand where a network has constants."""
    return {name for node in graph.node for slot, name in enumerate(node.input)
            if slot in STEERING.get(node.op_type, ())}


def bind(model, values, case):
    """Makes constants of the inputs that steer, here or in the operator of which this case is the
    definition written out; returns the data, [1, ...] by name."""
    graph, data, steering = model.graph, {}, steering_inputs(model.graph)
    operator = os.path.join(case.replace("_expanded", ""), "model.onnx")
    if os.path.exists(operator):
        steering |= steering_inputs(onnx.load(operator).graph)
    for value in list(graph.input):
        if value.name not in values:
            continue
        tensor = values[value.name]
        if value.name in steering:
            tensor.name = value.name
            graph.initializer.append(tensor)
            graph.input.remove(value)
            continue
        kind = value.type.tensor_type.elem_type
        array = data[value.name] = to_array(tensor, kind)
        value.type.tensor_type.ClearField("shape")
        value.type.tensor_type.shape.SetInParent()
        for size in array.shape:
            value.type.tensor_type.shape.dim.add().dim_value = size
    return {name: (array.astype(np.uint8) if array.dtype == bool else array)[None]
            for name, array in data.items()}


def make_real(model, data):
    """Casts outputs that are not real. Where one depends on no data, that is, of integers or
    without any, a zero of the data is added: what was folded is compared as well."""
    graph, zero = model.graph, "conformance_zero"
    for value in list(graph.output):
        kind = value.type.tensor_type.elem_type
        if not is_tensor(value) or kind in UNREAL or (kind in REAL and data):
            continue
        name = value.name
        graph.node.append(helper.make_node("Cast", [name], [name + "_real"], to=TensorProto.DOUBLE))
        graph.node.append(helper.make_node("Add", [name + "_real", zero], [name + "_sum"]))
        graph.output.remove(value)
        graph.output.append(
            helper.make_tensor_value_info(name + "_sum", TensorProto.DOUBLE, None))
    if any(zero in node.input for node in graph.node):
        graph.input.append(helper.make_tensor_value_info(zero, TensorProto.DOUBLE, [1]))
        data[zero] = np.zeros((1, 1))


def load_case(case, number):
    """Model, inputs that are not given, folder of one set."""
    model = onnx.load(os.path.join(case, "model.onnx"))
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    return model, inputs, os.path.join(case, f"test_data_set_{number}")


def read_inputs(inputs, where):
    """Tensors by name; none where there is a thing that is no tensor of numbers."""
    if not all(is_tensor(v) and v.type.tensor_type.elem_type not in UNREAL for v in inputs):
        return {}
    return {value.name: load_tensor(os.path.join(where, f"input_{i}.pb"))
            for i, value in enumerate(inputs)
            if os.path.exists(os.path.join(where, f"input_{i}.pb"))}


def prepare(case, number, folder):
    """Writes model and data of one set; returns types and folder of the outputs expected."""
    model, inputs, where = load_case(case, number)
    graph = model.graph
    named = [name for name, kind in ((t.name, t.data_type) for t in graph.initializer)
             if kind in REAL and any(name in node.input for node in graph.node)]
    helper.set_model_props(model, {"scantk.parameters": json.dumps(named)})
    kinds = [v.type.tensor_type.elem_type for v in graph.output if is_tensor(v)]
    values = read_inputs(inputs, where)
    data = bind(model, values, case)
    if values or not inputs:
        make_real(model, data)
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    write_data(os.path.join(folder, "data.h5"), **data)
    return kinds, where


def compare(kinds, where, found):
    """None, or what differs."""
    for i, kind in enumerate(kinds):
        expected = expected_output(where, i, kind).ravel()
        mine, found = found[:expected.size], found[expected.size:]
        largest = np.max(np.abs(expected), initial=0)
        if mine.size != expected.size:
            return f"output {i} has {mine.size} elements, not {expected.size}"
        rounded = any(fnmatch.fnmatch(os.path.basename(os.path.dirname(where)), pattern)
                      for pattern in ROUNDED)
        close = 1e-3 if rounded else REAL.get(kind, 0)
        if not np.all(np.abs(mine - expected) <= close * (np.abs(expected) + 0.01 * largest)):
            return f"output {i} differs by {np.max(np.abs(mine - expected)):.3g} of {largest:.3g}"
    return f"{found.size} elements too many" if found.size else None


def is_finite(kinds, where):
    """Are outputs and real inputs?"""
    inputs = [numpy_helper.to_array(load_tensor(path))
              for path in glob.glob(os.path.join(where, "input_*.pb"))]
    return all(np.all(np.isfinite(expected_output(where, i, kind)))
               for i, kind in enumerate(kinds) if kind not in UNREAL) and all(
                   np.all(np.isfinite(array)) for array in inputs if array.dtype.kind == "f")


def try_set(case, number):
    """(passed, reason why not, is it a refusal?)"""
    with tempfile.TemporaryDirectory() as folder:
        kinds, where = prepare(case, number, folder)
        ended = run(folder, "forward", "--model", "model.onnx", "--inputs", "data.h5", "--dtype", "f64",
                    "--batch-axis", "none", "--output", "out.h5")
        lines = [line for line in ended.err if "warning" not in line]
        if ended.code == 0:
            different = compare(kinds, where, read(os.path.join(folder, "out.h5"), "outputs")[0])
            return different is None, different, False
        nonfinite = ended.code == 3 and not is_finite(kinds, where)
        refused = len(lines) == 1 and (ended.code in (1, 2) or nonfinite)
        return False, lines[0] if refused else str(ended), refused


# ---- derivatives ----

STEP = 1e-5
PLACES = np.array([0, 1, -1, 2, -2])  # of the samples, in steps
AWAY = [(0.03, 0.01), (-0.05, -0.01), (0, 0)]  # from kinks, and from where functions end


def moving(graph, values, generator, away):
    """Real inputs become x + direction * (parameter + data), all others data of each sample."""
    data = {"place": PLACES * STEP}
    front = [helper.make_node("Add", ["place", "shift"], ["moved"])]
    for value in list(graph.input):
        if value.name not in values:
            continue
        kind = value.type.tensor_type.elem_type
        array = to_array(values[value.name], kind)
        if kind not in REAL:
            data[value.name] = np.repeat((array.astype(np.uint8) if array.dtype == bool else array)[None],
                                         len(PLACES), 0)
            continue
        near = array * (1 + away[0] * generator.random(array.shape)) + away[1] * generator.random(
            array.shape)
        wide = np.float64 if kind == TensorProto.DOUBLE else np.float32
        name = value.name + "/"
        graph.initializer.extend([
            numpy_helper.from_array(near.astype(wide), name + "start"),
            numpy_helper.from_array(generator.normal(size=array.shape).astype(wide), name + "way")])
        front += [helper.make_node("Mul", [name + "way", "moved"], [name + "moved"]),
                  helper.make_node("Add", [name + "start", name + "moved"], [value.name])]
        graph.input.remove(value)
    nodes = front + list(graph.node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return data


def prepare_moving(case, number, folder, generator, away):
    """Writes the model that moves and its data; the number of its outputs, 0 where nothing real is
    there."""
    model, inputs, where = load_case(case, number)
    graph = model.graph
    values = read_inputs(inputs, where)
    data = bind(model, values, case)
    data = moving(graph, {name: values[name] for name in data}, generator, away)
    outputs = [(value, expected_output(where, i, value.type.tensor_type.elem_type).size)
               for i, value in enumerate(graph.output)
               if is_tensor(value) and value.type.tensor_type.elem_type in REAL]
    if not any(node.output[0].endswith("/moved") for node in graph.node):
        return 0
    real = [value for value, _ in outputs]
    del graph.output[:]
    graph.output.extend(real)
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "shift"))
    graph.input.append(helper.make_tensor_value_info("place", TensorProto.FLOAT, []))
    helper.set_model_props(model, {"scantk.parameters": json.dumps(["shift"])})
    onnx.save(model, os.path.join(folder, "model.onnx"))
    write_data(os.path.join(folder, "data.h5"), **data)
    return sum(size for _, size in outputs)


def slopes_of(folder, sums, algorithm):
    """Sums of outputs of the samples [N, S], products of their slopes at the first sample [S, S]."""
    name = algorithm + ".h5"
    must(folder, "kernel", "--model", "model.onnx", "--inputs", "data.h5", "--dtype", "f64",
         "--batch-axis", "none", "--cotangents", "sums.h5:/cotangents", "--algorithm", algorithm,
         "--output", name, "--quiet")
    path = os.path.join(folder, name)
    return read(path, "outputs1") @ sums.T, read(path, "kernel")[0, :, 0, :]


def slopes_differ(folder, count, generator):
    """None, or what is wrong with the slopes: of three sums of the outputs, as kernels have them."""
    sums = generator.normal(size=(3, count))
    write_data(os.path.join(folder, "sums.h5"), cotangents=sums)
    for algorithm in ("jacobian", "ntvp"):
        f, products = slopes_of(folder, sums, algorithm)
        slope = (8 * (f[1] - f[2]) - (f[3] - f[4])) / (12 * STEP)
        scale = max(np.max(np.abs(slope)), 1e-4 * np.max(np.abs(f)), 1e-12)
        error = np.max(np.abs(products - np.outer(slope, slope))) / scale**2
        if not error < 1e-5:
            return f"{algorithm}: slopes differ by {error:.1e}"
    return None


def differentiate(case, number):
    """(were slopes compared?, what is wrong or None)"""
    generator, problem = np.random.default_rng(number), None
    if case.endswith("_expanded"):  # is made of operators that have cases of their own
        return False, None
    for away in AWAY:
        with tempfile.TemporaryDirectory() as folder:
            count = prepare_moving(case, number, folder, generator, away)
            if not count:
                return False, None
            try:
                problem = slopes_differ(folder, count, generator)
            except Failure as failure:
                problem = str(failure)
        if problem is None or "does not depend on the inputs" in problem:
            return problem is None, None
    return True, problem


def operators(case):
    """Those that outputs need; nodes stand in order."""
    graph = onnx.load(os.path.join(case, "model.onnx")).graph
    wanted, used = {value.name for value in graph.output}, set()
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            used.add(node.op_type)
    return used


def expectation(name, used):
    """Why a case is to be refused; None: it is to pass."""
    for pattern, reason in CASES + (NEWEST if ARGUMENTS.pypi else []):
        if fnmatch.fnmatch(name, pattern):
            return reason
    missing = sorted(used & set(OPERATORS))
    return f"operator {missing[0]}" if missing else None


def try_case(case):
    """(operators, passed, what there is to say or "", refusal or None, slopes compared)"""
    name, used = os.path.basename(case), operators(case)
    expected = expectation(name, used)
    slopes = False
    for number in range(len(glob.glob(os.path.join(case, "test_data_set_*")))):
        try:
            passed, reason, refused = try_set(case, number)
            if passed and not expected and ARGUMENTS.derivatives:
                slopes, reason = differentiate(case, number)
                passed = reason is None
        except Failure as failure:
            passed, reason, refused = False, str(failure), False
        if passed and expected is None:
            continue
        if passed:
            return used, False, f"passes, and is listed as refused: {expected}", None, False
        if refused and expected is not None:
            return used, True, "", reason, False
        return used, False, reason, None, False
    return used, True, "", None, slopes


def write_case(case, folder):
    """A case of the Python package as files."""
    where = os.path.join(folder, "node", case.name)
    for number, data in enumerate(case.data_sets):
        numbered = os.path.join(where, f"test_data_set_{number}")
        os.makedirs(numbered)
        for kind, values in zip(("input", "output"), data):
            for i, value in enumerate(values):
                if isinstance(value, (np.ndarray, np.generic)):
                    value = numpy_helper.from_array(np.asarray(value))
                if isinstance(value, TensorProto):
                    with open(os.path.join(numbered, f"{kind}_{i}.pb"), "wb") as file:
                        file.write(value.SerializeToString())
    onnx.save(case.model, os.path.join(where, "model.onnx"))


def find_cases(folder):
    if ARGUMENTS.pypi:
        from onnx.backend.test.loader import load_model_tests
        for case in load_model_tests(kind="node"):
            if fnmatch.fnmatch(case.name, ARGUMENTS.pattern) and case.model:
                write_case(case, folder)
    return sorted(os.path.dirname(path) for path in glob.glob(
        os.path.join(folder if ARGUMENTS.pypi else ARGUMENTS.data, "*", ARGUMENTS.pattern,
                     "model.onnx")))


def report(passed, refused):
    print(f"{'operator':28} passed refused")
    for name in sorted(set(passed) | set(refused)):
        print(f"{name:28} {passed[name]:6} {refused[name]:7}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pypi", action="store_true", help="the cases of the package onnx")
    parser.add_argument("--data", default=DATA, help="folder of folders of cases")
    parser.add_argument("--derivatives", action="store_true", help="differentiate what passes")
    parser.add_argument("-v", action="store_true", help="print each refusal")
    parser.add_argument("pattern", nargs="?", default="*", help="names of cases")
    return parser.parse_args()


ARGUMENTS = parse_arguments()


def run_all(folder):
    cases = find_cases(folder)
    if not cases:
        print("skipped: there are no cases")
        return 77
    passed, refused, failures, slopes = collections.Counter(), collections.Counter(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(max(3, os.cpu_count() or 2)) as pool:
        for case, (used, good, problem, refusal, differentiated) in zip(cases,
                                                                        pool.map(try_case, cases)):
            slopes += differentiated
            if not good:
                failures += 1
                print(f"FAIL {os.path.basename(case)}: {problem}", flush=True)
            elif refusal and ARGUMENTS.v:
                print(f"refused {os.path.basename(case)}: {refusal}")
            (refused if refusal else passed).update(used)
    report(passed, refused)
    print(f"{len(cases)} cases, {failures} failures" +
          (f", slopes of {slopes} compared" if ARGUMENTS.derivatives else ""))
    return 1 if failures else 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        return run_all(folder)


if __name__ == "__main__":
    sys.exit(main())
