#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/predictions.npz by neural-tangents: what training by gradient flow predicts.

    make_predictions.py           writes it, and says how far it is from what was there

fcn.onnx, in JAX and f64, on samples of its own; the empirical kernel is neural-tangents', too, and
so are predict.gradient_descent_mse of the full kernel and of the trace, from the network's outputs
and from 0, and the mean of predict.gradient_descent_mse_ensemble of the trace. neural-tangents
comes from PyPI, into the folder in which scripts/bench has it.

Arrays: inputs [N, 7], test_inputs [M, 7], targets [N, O]; times [T], the last one infinite, ridges
[R], in units of the mean diagonal, rate; KIND_train [T, R, N, O], KIND_test [T, R, M, O] of each
kind in `kinds`."""
import os
import subprocess
import sys
import tempfile
import types

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
PREDICTIONS = os.path.join(HERE, "predictions.npz")
N, M, O = 14, 5, 3
TIMES, RIDGES, RATE = [0, 30, 1e4, np.inf], [0, 1e-3], 0.5
AXES = {"full": (), "trace": (-1,)}


def read_weights():
    """[(weight, bias)] of the layers of fcn.onnx."""
    import onnx
    from onnx import numpy_helper
    graph = onnx.load(os.path.join(HERE, "fcn.onnx")).graph
    found = {i.name: numpy_helper.to_array(i).astype(float) for i in graph.initializer}
    return [(found[f"{k}.weight"], found[f"{k}.bias"]) for k in (0, 2, 4)]


# ---- inside the environment of neural-tangents ---------------------------------------------------


def predict_all(weights):
    # its `experimental` package imports TensorFlow, which nothing here needs
    sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
    import jax
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import neural_tangents as nt

    def network(layers, x):
        for weight, bias in layers[:-1]:
            x = jnp.tanh(x @ weight.T + bias)
        return x @ layers[-1][0].T + layers[-1][1]

    random = np.random.default_rng(12)
    x, x_test = random.standard_normal((N, 7)), random.standard_normal((M, 7))
    y = random.standard_normal((N, O))
    found = {"inputs": x, "test_inputs": x_test, "targets": y, "times": np.array(TIMES),
             "ridges": np.array(RIDGES), "rate": np.array(RATE)}

    def keep(kind, ways):
        """ways: for each ridge a function of a time."""
        both = [[way(None if np.isinf(t) else t) for way in ways] for t in TIMES]
        for k, side in enumerate(("train", "test")):
            found[f"{kind}_{side}"] = np.array([[one[k] for one in row] for row in both])

    starts = {"": [network(weights, v) for v in (x, x_test)], "_zero": [0.0, 0.0]}
    for name, axes in AXES.items():
        kernel = nt.empirical_ntk_fn(network, trace_axes=axes)
        k, k_test = kernel(x, None, weights), kernel(x_test, x, weights)
        flows = [nt.predict.gradient_descent_mse(k, y, RATE, ridge, trace_axes=axes)
                 for ridge in RIDGES]
        for start, (f0, f0_test) in starts.items():
            keep(name + start, [lambda t, flow=flow, a=f0, b=f0_test: flow(t, a, b, k_test)
                                for flow in flows])

    kernel_fn = nt.empirical_kernel_fn(network, trace_axes=(-1,))
    flows = [nt.predict.gradient_descent_mse_ensemble(
        lambda a, b, get, **_: kernel_fn(a, b, get, weights), x, y, RATE, ridge)
             for ridge in RIDGES]
    keep("ensemble", [lambda t, flow=flow: (flow(t, None, "ntk"), flow(t, x_test, "ntk"))
                      for flow in flows])
    found["kinds"] = np.array(sorted(key[:-5] for key in found if key.endswith("_test")))
    return found


# ---- outside of it -------------------------------------------------------------------------------


def write():
    sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts", "benchmark"))
    from peers import python_of_neural_tangents
    python, why = python_of_neural_tangents(lambda text: print(text, file=sys.stderr))
    if not python:
        sys.exit(f"make_predictions.py: error: neural-tangents {why}")
    old = dict(np.load(PREDICTIONS)) if os.path.exists(PREDICTIONS) else {}
    with tempfile.TemporaryDirectory() as folder:
        given = os.path.join(folder, "weights.npz")
        np.savez(given, *[array for layer in read_weights() for array in layer])
        subprocess.run([python, os.path.abspath(__file__), "--inside", given], check=True,
                       env=dict(os.environ, JAX_PLATFORMS="cpu"))
    new = dict(np.load(PREDICTIONS))
    for name in sorted(set(old) & set(new) - {"kinds"}):
        worst = np.abs(np.nan_to_num(new[name] - old[name])).max()
        print(f"{name:22} {worst:8.1e} from what was there")
    print(f"{PREDICTIONS}: {len(new)} arrays, {os.path.getsize(PREDICTIONS)} bytes")


def main():
    if len(sys.argv) == 1:
        return write()
    if len(sys.argv) != 3 or sys.argv[1] != "--inside":
        sys.exit(__doc__)
    flat = np.load(sys.argv[2])
    arrays = [flat[f"arr_{i}"] for i in range(len(flat.files))]
    return np.savez(PREDICTIONS, **predict_all(list(zip(arrays[::2], arrays[1::2]))))


if __name__ == "__main__":
    main()
