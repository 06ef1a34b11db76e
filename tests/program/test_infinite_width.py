#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wide relu networks in the ntk parametrisation: the kernel tends to its closed form as width^-1/2.
That the mean over an ensemble does so as 1 / width takes thousands of networks to be seen:
scripts/study-width."""
import glob
import os
import sys

from program import expect, must, np, read, run_cases, write_data

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/studies"))
from closed_form import infinite_kernel  # noqa: E402
from tables import fit_power  # noqa: E402
from width import distances  # noqa: E402

SAMPLES, FEATURES, DEPTH = 8, 16, 2


def make(folder):
    values = np.random.default_rng(1).standard_normal((SAMPLES, FEATURES))
    write_data(os.path.join(folder, "data.h5"), inputs=values)
    return values


def kernels(folder, width, count, reduce="trace"):
    """[count, ...] of networks that differ by their seeds."""
    name = f"w{width}{reduce}"
    must(folder, "model", "fcn", "--input", str(FEATURES), "--width", str(width), "--depth",
         str(DEPTH), "--outputs", "5", "--parameterization", "ntk", "--weight-variance", "2",
         "--bias-scale", "0.1", "--ensemble", str(count), "-o", f"{name}.onnx")
    models = sorted(glob.glob(os.path.join(folder, f"{name}-*.onnx")))
    with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{model} - {model}.h5\n" for model in models)
    must(folder, "kernel", "--sweep", name + ".txt", "--inputs", "data.h5", "--reduce", reduce,
         "--dtype", "f64", "--quiet")
    return np.array([read(f"{model}.h5", "kernel") for model in models])


def check_deviation(folder, values):
    due = infinite_kernel(values, values, DEPTH)
    widths, off = [64, 128, 256, 512], []
    for width in widths:
        found = kernels(folder, width, 20)
        off.append(distances(found, due)[0])
        mean = distances(found.mean(axis=0, keepdims=True), due)[0]
        expect(mean < 0.4 * off[-1], f"width {width}: the mean is off by {mean} of {off[-1]}")
    exponent = fit_power(widths, off)[0]
    print(f"width^{exponent:.3f}, off by {off[-1]:.4f} at {widths[-1]}")
    expect(-0.6 < exponent < -0.4 and off[-1] < 0.15, f"width^{exponent}: {off}")


def check_outputs(folder, values):
    """The whole kernel: outputs are alike, two different ones have none together."""
    due = infinite_kernel(values, values, DEPTH)[:, None, :, None] * np.eye(5)[:, None]
    found = kernels(folder, 2048, 1, "none")[0]
    error = np.linalg.norm(found - due) / np.linalg.norm(due)
    expect(error < 0.1, f"off by {error}")


def cases(folder):
    values = make(folder)
    for check in (check_deviation, check_outputs):
        yield check.__name__, lambda c=check: c(folder, values)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
