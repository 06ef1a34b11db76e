#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
"""scripts/export_keras.py: kernels of the files it writes against the framework's derivatives, by
all algorithms, in f64, with Keras on JAX or on TensorFlow (KERAS_BACKEND); names; a saved model.
Skipped (exit 77) where there is no keras; scripts/test --exporters has it."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # what is compiled runs once
sys.path[:0] = [SCRIPTS, os.path.join(HERE, "..", "program")]
from program import SCANTK, expect, run_cases  # noqa: E402
from exported import check_file, keep  # noqa: E402
try:
    import keras
    import numpy as np
    from export_keras import export_model
    from exporting import save
    import export_keras
    import keras_models
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

BACKEND = keras.backend.backend()
F32 = {("jax", "transformer")}  # jax.nn.dot_product_attention has its logits in f32
if BACKEND == "jax":
    import export_jax
    export_jax.ROWS = 10**9
export_keras.use_double()
export_keras.ROWS = 10**9


def check(folder, name, made, golden):
    model, inputs = made
    proto, fixed, derivatives = export_model(model, [inputs])
    expect(fixed is None, f"the batch axis is fixed: {fixed}")
    stored = {i.name for i in proto.graph.initializer}
    expect(all(v.path in stored for v in model.trainable_variables), f"names: {stored}")
    path = os.path.join(folder, f"{BACKEND}_{name}.onnx")
    save(proto, path)
    outputs, jacobian = derivatives()
    kernel = np.einsum("nop,mqp->nomq", jacobian, jacobian)
    loose = (BACKEND, name) in F32
    check_file(folder, path, inputs, outputs, kernel, 1e-6 if loose else 1e-10)
    if golden and not loose:
        keep(f"keras_{BACKEND}_{name}", path, inputs, outputs, kernel)


def check_command(folder, model):
    model.save(os.path.join(folder, "net.keras"))
    words = [sys.executable, os.path.join(SCRIPTS, "export_keras.py"), "net.keras", "-o",
             "net.onnx", "--double"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True,
                          env=dict(os.environ, SCANTK=SCANTK, KERAS_BACKEND=BACKEND))
    expect(done.returncode == 0 and f"{model.count_params()} parameters" in done.stdout
           and "kernel agree" in done.stdout, done.stdout + done.stderr[-1000:])


def cases(folder):
    made = {name: keras_models.make(name) for name in keras_models.MODELS}
    for name in made:
        yield name, lambda name=name: check(folder, name, made[name], "--golden" in sys.argv)
    yield "command", lambda: check_command(folder, made["mlp"][0])


if __name__ == "__main__":
    sys.exit(run_cases(cases))
