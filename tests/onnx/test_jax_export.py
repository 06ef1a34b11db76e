#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
"""scripts/export_jax.py: kernels of the files it writes against jax.jacrev, by all algorithms, in
f64; names, refusals. Skipped (exit 77) where there is no jax; scripts/test --exporters has it."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # what is compiled runs once
sys.path[:0] = [SCRIPTS, os.path.join(HERE, "..", "program")]
from program import SCANTK, expect, run_cases  # noqa: E402
from exported import check_file, keep  # noqa: E402
try:
    import jax
    import numpy as np
    from export_jax import export_function, in_double, named_leaves, trained
    from exporting import ExportError, save
    from jax_models import MODELS, layer, normal
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

jax.config.update("jax_enable_x64", True)
FIXED = {"fixed"}  # those whose batch axis has the size 1


def kernel_of(f, parameters, inputs):
    """Outputs [N, O] and the kernel [N, O, N, O]."""
    names = set(trained(parameters, named_leaves(parameters)))
    outputs = jax.jit(f)(parameters, inputs)
    flat = outputs.reshape(len(outputs), -1)
    leaves = named_leaves(jax.jit(jax.jacrev(lambda p: f(p, inputs).reshape(flat.shape)))(
        parameters))
    rows = np.concatenate([np.asarray(leaf).reshape(*flat.shape, -1) for name, leaf in leaves
                           if name in names], axis=-1)
    return np.asarray(flat), np.einsum("nop,mqp->nomq", rows, rows)


def check(folder, name, made, golden):
    f, parameters, inputs = made
    parameters, inputs = in_double(parameters), in_double(inputs)
    proto, doubtful, fixed = export_function(f, parameters, [inputs[:2]])
    expect(not doubtful, f"{doubtful} are no doubtful functions")
    expect((fixed is not None) == (name in FIXED), f"the batch axis is fixed: {fixed}")
    stored = {i.name for i in proto.graph.initializer}
    expect(all(leaf in stored for leaf, _ in named_leaves(parameters)), f"names: {stored}")
    path = os.path.join(folder, name + ".onnx")
    save(proto, path)
    outputs, kernel = kernel_of(f, parameters, inputs)
    check_file(folder, path, np.asarray(inputs), outputs, kernel)
    if golden:
        keep("jax_" + name, path, np.asarray(inputs), outputs, kernel)


def refused(words, f, parameters, inputs):
    try:
        export_function(f, parameters, [inputs])
    except ExportError as problem:
        expect(words in str(problem), f"'{problem}' does not say '{words}'")
        return
    expect(False, f"not refused: {words}")


def check_refusals():
    p, x = layer(4, 3), normal(2, 4)
    refused("mixes the samples", lambda p, x: (x - x.mean(0)) @ p["w"], p, x)
    refused("sort", lambda p, x: jax.numpy.sort(x) @ p["w"], p, x)
    refused("one array", lambda p, x: (x @ p["w"], x), p, x)

    @jax.custom_jvp
    def straight(x):
        return jax.numpy.round(x)
    straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0]))
    _, doubtful, _ = export_function(lambda p, x: straight(x @ p["w"]), p, [x])
    expect(len(doubtful) > 0, "a derivative of the user's is taken for that of the body")


def check_command(folder):
    with open(os.path.join(folder, "net.py"), "w") as file:
        file.write("import sys\nsys.path.insert(0, " + repr(HERE) + ")\n"
                   "from jax_models import mlp\ndef make():\n    return mlp()[:2]\n")

    def script(*words):
        return subprocess.run(
            [sys.executable, os.path.join(SCRIPTS, "export_jax.py"), "net.py:make", *words],
            cwd=folder, capture_output=True, text=True, env=dict(os.environ, SCANTK=SCANTK))
    done = script("--input-shape", "6", "-o", "net.onnx")
    expect(done.returncode == 0 and "6 parameter tensors, 143 parameters" in done.stdout
           and "kernel agree" in done.stdout, done.stdout + done.stderr)
    done = script("-o", "no.onnx")
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1
           and "--input-shape" in done.stderr, done.stderr)


def cases(folder):
    for name, make in MODELS.items():
        made = make()
        yield name, lambda name=name, made=made: check(folder, name, made, "--golden" in sys.argv)
    yield "refusals", check_refusals
    yield "command", lambda: check_command(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
