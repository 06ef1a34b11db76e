# SPDX-License-Identifier: Apache-2.0
"""What the export scripts share: the user's function, the file, and the proof that the program finds
in the file what the framework has."""
import argparse
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy
import onnx


ROWS = 4  # outputs of which the kernel is compared


class ExportError(Exception):
    """The model cannot be exported faithfully; the text says why."""


def parser_of(description, argument, metavar, shape):
    """What the command lines have in common; `argument` is the one that must be there."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(argument, metavar=metavar)
    parser.add_argument("--input-shape", nargs="+", metavar=shape, default=[])
    parser.add_argument("-o", "--output", required=True, metavar="M.onnx")
    return parser


def run_script(name, main):
    try:
        main()
    except (ExportError, OSError) as error:
        sys.exit(f"{name}: error: {error}")


def load_function(text):
    """MODULE:FUNCTION, a module's name or a .py file, as the function."""
    module_name, _, function_name = text.rpartition(":")
    if not module_name:
        raise ExportError(f"{text}: expected MODULE:FUNCTION")
    sys.path.insert(0, os.getcwd())
    if module_name.endswith(".py"):
        spec = importlib.util.spec_from_file_location("exported_model", module_name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise ExportError(f"{module_name}: there is no such module; give a .py file or "
                              "set PYTHONPATH") from error
    if not hasattr(module, function_name):
        raise ExportError(f"{module_name} has no function {function_name}")
    return getattr(module, function_name)


def sizes_of(shapes):
    """Of each word such as 3x32x32: [3, 32, 32]."""
    for shape in shapes:
        if not all(n.isdigit() and int(n) > 0 for n in shape.split("x")):
            raise ExportError(f"--input-shape {shape}: expected sizes such as 3x32x32")
    return [[int(n) for n in shape.split("x")] for shape in shapes]


def input_names(inputs):
    return [f"input{i}" if i else "input" for i in range(len(inputs))]


def set_metadata(proto, names):
    """What the program takes as parameters."""
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key = "scantk.parameters"
    entry.value = json.dumps(list(names))


def rename(graph, names):
    """Other names for values; in bodies, too."""
    for value in (*graph.input, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        for attribute in node.attribute:
            rename(attribute.g, names)


def save(proto, path):
    """Beside, then rename; elements beyond protobuf's 2 GiB go to PATH.data."""
    if proto.ByteSize() >= 2**31:
        onnx.save_model(proto, path, save_as_external_data=True,
                        location=os.path.basename(path) + ".data")
        return
    temporary = path + ".new"
    try:
        with open(temporary, "wb") as file:
            file.write(proto.SerializeToString())
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def find_program():
    """The program: $SCANTK, that of this tree's build, or that of the PATH; None."""
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.environ.get("SCANTK"), os.path.join(here, "..", "build", "bin", "scantk")):
        if path and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return shutil.which("scantk")


def run_program(program, model, inputs, count):
    """(outputs [N, O], kernel [N, Q, N, Q]) of the first Q outputs, as the program finds them in
    f64; `inputs` are arrays by the names of the model's inputs."""
    import h5py
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(os.path.join(folder, "x.h5"), "w") as file:
            for name, array in inputs.items():
                file[name] = array
        where = f"x.h5:/{next(iter(inputs))}" if len(inputs) == 1 else "x.h5"
        words = ["kernel", "--model", os.path.abspath(model), "--inputs", where, "--dtype", "f64",
                 "--select-outputs", f"0:{count}", "--output", "k.h5", "--quiet"]
        variables = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                     "OMPI_MCA_orte_tmpdir_base": folder}
        done = subprocess.run([program, *words], cwd=folder, env={**os.environ, **variables},
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            raise ExportError(f"the program cannot use the file: {lines[-1]}")
        with h5py.File(os.path.join(folder, "k.h5"), "r") as file:
            return file["outputs1"][()], file["kernel"][()]


def difference(found, expected):
    """max|difference| / max|expected|"""
    if found.shape != expected.shape:
        raise ExportError(f"shape {found.shape} where {expected.shape} is due")
    return numpy.abs(found - expected).max() / max(numpy.abs(expected).max(), 1e-300)


def prove(model, inputs, derivatives, tolerance):
    """Words of what was compared: the framework's outputs [N, O] and the kernel of its Jacobian
    [N, Q, P], which derivatives() gives, with what the program makes of the file; or why they were
    not. ExportError where they differ."""
    if unproved():
        return unproved()
    outputs, jacobian = derivatives()
    feeds = dict(zip(input_names(inputs), map(numpy.asarray, inputs)))
    found, kernel = run_program(find_program(), model, feeds, jacobian.shape[1])
    expected = numpy.einsum("nop,mqp->nomq", jacobian, jacobian)
    errors = []
    for what, error in (("outputs", difference(found, outputs[:, :found.shape[1]])),
                        ("kernel", difference(kernel, expected))):
        if not error < tolerance:
            raise ExportError(f"the program's {what} differ from the framework's by {error:.1e}")
        errors.append(f"{what} agree to {error:.1e}")
    return ", ".join(errors)


def unproved():
    """Why there is no program to compare with; None where there is."""
    if importlib.util.find_spec("h5py") is None:
        return "not compared with the program: no h5py here"
    if find_program() is None:
        return "not compared with the program: no scantk in build/bin or PATH ($SCANTK names it)"
    return None


def report(path, names, tensors, checked):
    """The script's line of what it wrote."""
    count = sum(int(numpy.prod(tensor.shape)) for tensor in tensors)
    print(f"{path}: {len(names)} parameter tensors, {count} parameters; {checked}")
