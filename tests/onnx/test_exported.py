#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that export_jax.py and export_keras.py wrote, kept in tests/onnx/exported with the kernels
that JAX and TensorFlow have: by factors and by Jacobians, in f64. Remade by test_jax_export.py --golden and
test_keras_export.py --golden."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "program"))
from program import h5py, run_cases  # noqa: E402
from exported import FOLDER, KERNELS, check_file  # noqa: E402


def cases(folder):
    with h5py.File(KERNELS, "r") as file:
        kept = {name: [group[what][()] for what in ("inputs", "outputs", "kernel")]
                for name, group in file.items()}
    for name, due in kept.items():
        model = os.path.join(FOLDER, name + ".onnx")
        yield name, lambda model=model, due=due: check_file(
            folder, model, *due, algorithms=("structured", "jacobian"))


if __name__ == "__main__":
    sys.exit(run_cases(cases))
