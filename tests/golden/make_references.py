#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/references.h5 and the networks' ONNX files, by torch and functorch alone.

    make_references.py            writes them
    make_references.py --check    computes them again, compares with the committed ones, and checks
                                  the Jacobians by finite differences along random directions;
                                  exit 77 where there is no torch

A group per network: inputs [4, ...], inputs2 [3, ...], outputs [4, O], outputs2 [3, O],
kernel [4, O, 4, O] (x2 = x1), kernel2 [4, O, 3, O], attribute `parameters`. All f64, from the f32
weights in the file."""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
try:
    import h5py
    import numpy as np
    import torch
    from export_torch import export_model, save
    from networks import NETWORKS, make
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

REFERENCES = os.path.join(HERE, "references.h5")


def jacobian(model, x):
    """d outputs / d parameters at the samples x: a list of [N, O, P_l], by jacrev."""
    try:
        from torch.func import functional_call, jacrev
        names, values = zip(*model.named_parameters())
        buffers = dict(model.named_buffers())

        def function(parameters):
            return functional_call(model, ({**dict(zip(names, parameters)), **buffers},), (x,))
    except ImportError:
        from functorch import jacrev, make_functional_with_buffers
        stateless, values, buffers = make_functional_with_buffers(model)

        def function(parameters):
            return stateless(parameters, buffers, x)
    values = tuple(value.detach() for value in values)
    count = len(x)
    outputs = function(values).numel() // count
    return [j.detach().reshape(count, outputs, -1) for j in jacrev(function)(values)]


def along_by_differences(model, x, directions, step=1e-6):
    """J v of each direction v [P] by central differences: [len(directions), N, O]."""
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]

    def moved(direction, by):
        for parameter, part in zip(parameters, direction.split(sizes)):
            parameter.add_(part.reshape(parameter.shape), alpha=by)

    found = []
    with torch.no_grad():
        for direction in directions:
            moved(direction, step)
            above = model(x)
            moved(direction, -2 * step)
            found.append((above - model(x)).reshape(len(x), -1) / (2 * step))
            moved(direction, step)
    return torch.stack(found)


def error_along(model, x, count=8):
    """Largest disagreement of J v and differences, in random directions of all parameters."""
    rows = torch.cat(jacobian(model, x), -1)
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(count, rows.shape[-1], generator=generator, dtype=torch.float64)
    expected = torch.einsum("nop,vp->vno", rows, directions)
    return difference(along_by_differences(model, x, directions).numpy(), expected.numpy())


def contract(rows, columns):
    """[N1, O, N2, O]"""
    return sum(torch.einsum("nop,mqp->nomq", a, b) for a, b in zip(rows, columns))


def reference(name):
    model, x, x2 = make(name)
    rows, columns = jacobian(model, x), jacobian(model, x2)
    with torch.no_grad():
        outputs, outputs2 = model(x).reshape(len(x), -1), model(x2).reshape(len(x2), -1)
    found = {"inputs": x, "inputs2": x2, "outputs": outputs, "outputs2": outputs2,
             "kernel": contract(rows, rows), "kernel2": contract(rows, columns)}
    return model, {key: value.numpy() for key, value in found.items()}


def write():
    with h5py.File(REFERENCES + ".new", "w", track_order=True) as file:
        for name in NETWORKS:
            model, arrays = reference(name)
            group = file.create_group(name)
            group.attrs["parameters"] = sum(p.numel() for p in model.parameters())
            for key, values in arrays.items():
                group[key] = values.astype(np.float32) if key.startswith("inputs") else values
            example = torch.from_numpy(arrays["inputs"]).float()
            save(export_model(model.float(), [example]), os.path.join(HERE, name + ".onnx"))
            print(f"{name}: {group.attrs['parameters']} parameters")
    os.replace(REFERENCES + ".new", REFERENCES)


def weights_agree(name, model):
    """Whether the committed ONNX file holds this model's weights."""
    import onnx
    from onnx import numpy_helper
    proto = onnx.load(os.path.join(HERE, name + ".onnx"))
    stored = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    return all(key in stored and np.array_equal(stored[key], value.detach().float().numpy())
               for key, value in model.named_parameters())


def difference(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def check_network(name, group):
    """Largest disagreement of remade and committed values, and of differences."""
    model, arrays = reference(name)
    again = max(difference(values, group[key][()]) for key, values in arrays.items())
    by_differences = 0.0
    if name != "ties":
        by_differences = error_along(model, torch.from_numpy(arrays["inputs"]))
    passed = again < 1e-12 and by_differences < 1e-7 and weights_agree(name, model)
    passed = passed and group.attrs["parameters"] == sum(p.numel() for p in model.parameters())
    print(f"{name:24} remade {again:8.1e}  differences {by_differences:8.1e}  "
          f"{'PASS' if passed else 'FAIL'}")
    return passed


def check():
    with h5py.File(REFERENCES, "r") as file:
        same = set(file) == set(NETWORKS)
        return all([check_network(name, file[name]) for name in NETWORKS if name in file]) and same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(0 if check() else 1)
    write()
