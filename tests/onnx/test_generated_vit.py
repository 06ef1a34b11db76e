#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The network that `scantk model vit` writes computes what torch computes with its parameters.

    SCANTK=build/bin/scantk tests/onnx/test_generated_vit.py

Exits 77 without torch, onnx or h5py."""
import math
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import onnx
    import torch
    import torch.nn.functional as F
    from onnx import numpy_helper
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
# options, side of a patch, heads, blocks, scale s of ntk parametrization or None
CASES = [(["--width", "24", "--heads", "3", "--depth", "2", "--patch", "8"], 8, 3, 2, None),
         (["--width", "10", "--depth", "1", "--parameterization", "ntk", "--weight-variance", "2",
           "--bias-scale", "0.5"], 4, 1, 1, 0.5),
         (["--width", "128", "--depth", "1"], 4, 2, 1, None)]


class Twin:
    """In f64, from the file's parameters by name."""

    def __init__(self, path, patch, heads, depth, scale):
        self.patch, self.heads, self.depth = patch, heads, depth
        self.ntk, self.scale = scale is not None, 1.0 if scale is None else scale
        self.w = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()).double()
                  for i in onnx.load(path).graph.initializer}

    def factor(self, fan_in):
        return math.sqrt(2.0 / fan_in) if self.ntk else 1.0

    def linear(self, name, x):
        weight = self.w[name + ".weight"]
        if name == "head" and not self.ntk:
            weight = weight.T
        return self.factor(x.shape[-1]) * (x @ weight) + self.scale * self.w[name + ".bias"]

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def split_heads(self, x):
        return x.reshape(len(x), x.shape[1], self.heads, -1).transpose(1, 2)

    def attention(self, name, x):
        q, k, v = (self.split_heads(part) for part in self.linear(name + ".qkv", x).chunk(3, -1))
        y = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1) @ v
        return self.linear(name + ".out", y.transpose(1, 2).reshape(x.shape))

    def __call__(self, x):
        weight, bias = self.w["patch.weight"], self.w["patch.bias"].reshape(1, -1, 1, 1)
        x = self.factor(weight[0].numel()) * F.conv2d(x, weight, stride=self.patch)
        x = (x + self.scale * bias).flatten(2).transpose(1, 2)
        token = self.scale * self.w["token"].expand(len(x), -1, -1)
        x = torch.cat([token, x], 1) + self.scale * self.w["position"]
        for i in range(self.depth):
            x = x + self.attention(f"block{i}.attention", self.norm(f"block{i}.norm1", x))
            y = F.gelu(self.linear(f"block{i}.mlp.up", self.norm(f"block{i}.norm2", x)))
            x = x + self.linear(f"block{i}.mlp.down", y)
        return self.linear("head", self.norm("norm", x)[:, 0])


def scantk(*arguments):
    folder = os.path.dirname(arguments[-1])
    subprocess.run([SCANTK, *arguments], check=True, timeout=120, capture_output=True,
                   env=dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1",
                            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                            OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=folder)))


def error_of(folder, number, options, *numbers):
    model, data, outputs = (os.path.join(folder, f"{number}{end}")
                            for end in (".onnx", "-data.h5", "-outputs.h5"))
    torch.manual_seed(number)
    x = torch.randn(5, 3, 32, 32)
    with h5py.File(data, "w") as file:
        file["inputs"] = x.numpy()
    scantk("model", "vit", *options, "--outputs", "7", "--seed", str(number), "--output", model)
    scantk("forward", "--model", model, "--inputs", data, "--output", outputs)
    with h5py.File(outputs) as file:
        found = torch.from_numpy(file["outputs"][()]).double()
    expected = Twin(model, *numbers)(x.double())
    return ((found - expected).abs().max() / expected.abs().max()).item()


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        errors = [error_of(folder, number, *case) for number, case in enumerate(CASES)]
    for (options, *_), error in zip(CASES, errors):
        print(f"{'ok  ' if error < 1e-5 else 'FAIL'} {error:.1e}  vit {' '.join(options)}")
    return 0 if all(error < 1e-5 for error in errors) else 1


if __name__ == "__main__":
    sys.exit(main())
