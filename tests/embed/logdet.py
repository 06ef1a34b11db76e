# SPDX-License-Identifier: Apache-2.0
"""log det of the kernel of MODEL over rows that the ranks make:  logdet.py MODEL [KERNEL.h5]"""
import sys

import numpy as np
import scantk

ROWS, INPUTS = 10, 12  # of each rank


def samples(first, count):
    return np.sin(np.arange(first * INPUTS, (first + count) * INPUTS)).reshape(count, INPUTS)


def main():
    with scantk.Context() as context:
        model = context.model(sys.argv[1])
        rows = samples(context.rank * ROWS, ROWS)
        plan = context.plan(model, context.rows(rows), options="--dtype f64")
        kernel = plan.to_array()
        n = kernel.shape[0] * kernel.shape[1]
        if context.rank == 0:
            value = np.linalg.slogdet(kernel.reshape(n, n))[1]
            print(f"{n} x {n}, info 0, log det {value:.6f}")
        check(context, model, rows, plan, kernel)


def check(context, model, rows, plan, kernel):
    """What else the module does; messages on stderr, and exit code 1, where it does not."""

    def fill(first, out):
        out[:] = samples(first, len(out))

    made = context.function(ROWS * context.size, (INPUTS,), fill)
    other = context.plan(model, made, options="--dtype f64")
    assert (other.to_array() == kernel).all()
    rows *= 2
    assert (plan.to_array() != kernel).any()
    rows /= 2
    assert (plan.to_array() == kernel).all()
    name, shape = next(iter(model.parameters.items()))
    assert len(model.parameters) == model.info.parameter_tensors
    model.set_parameter(name, np.ones(shape))
    assert (plan.to_array() != kernel).any()
    trace = context.plan(model, made, options="--dtype f32 --reduce trace").to_array()
    due = np.einsum("nomo->nm", plan.to_array()) / kernel.shape[1]
    assert trace.dtype == "f4" and np.abs(trace - due).max() < 1e-5 * due.max()
    if len(sys.argv) > 2:
        plan.to_file(sys.argv[2])
    for problem in (lambda: model.set_parameter("no such name", [1.0]),
                    lambda: context.model("none.onnx")):
        try:
            problem()
        except scantk.Error as error:
            assert error.status and str(error)
        else:
            raise AssertionError("not refused")
    try:
        plan.tiles(lambda tile, values: 1 / 0)
    except (ZeroDivisionError, scantk.Error):  # on ranks without tiles the latter
        pass
    else:
        raise AssertionError("an exception was lost")


if __name__ == "__main__":
    main()
