# SPDX-License-Identifier: Apache-2.0
"""Kernels of exported files: those just made, and those that are kept in tests/onnx/exported, where
no framework is needed: NAME.onnx, and in kernels.h5 a group NAME with inputs, outputs, kernel."""
import os
import shutil

from program import expect, h5py, must, np, read, write_data

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exported")
KERNELS = os.path.join(FOLDER, "kernels.h5")
ALGORITHMS = ("auto", "structured", "jacobian", "ntvp")


def error_of(found, expected):
    expect(found.shape == expected.shape, f"shape {found.shape}, not {expected.shape}")
    return np.abs(found - expected).max() / np.abs(expected).max()


def check_file(folder, model, inputs, outputs, kernel, tolerance=1e-10, algorithms=ALGORITHMS):
    """The kernel by each of the algorithms, in f64."""
    stem = os.path.join(folder, os.path.basename(model))
    write_data(stem + ".h5", inputs=inputs)
    for algorithm in algorithms:
        found = f"{stem}.{algorithm}.h5"
        must(folder, "kernel", "--model", model, "--inputs", stem + ".h5", "--dtype", "f64",
             "--algorithm", algorithm, "--output", found, "--quiet")
        for name, expected in (("outputs1", outputs), ("kernel", kernel)):
            error = error_of(read(found, name), expected)
            expect(error < tolerance, f"{model}, {algorithm}: {name} differs by {error:.1e}")


def keep(name, model, inputs, outputs, kernel):
    """Puts a file and what is due into tests/onnx/exported."""
    os.makedirs(FOLDER, exist_ok=True)
    shutil.copy(model, os.path.join(FOLDER, name + ".onnx"))
    with h5py.File(KERNELS, "a") as file:
        if name in file:
            del file[name]
        for what, array in (("inputs", inputs), ("outputs", outputs), ("kernel", kernel)):
            file[f"{name}/{what}"] = array
