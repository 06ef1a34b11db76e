#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 900
"""Networks that `scantk model` writes compute what torch computes with their parameters: outputs
and kernels in f64. In maximal update parametrisation the kernel stays as the width doubles.

    SCANTK=build/bin/scantk tests/onnx/test_generated.py

Exits 77 without torch, functorch, onnx or h5py."""
import math
import os
import subprocess
import sys
import tempfile

try:
    import functorch
    import h5py
    import numpy as np
    import onnx
    import torch
    import torch.nn.functional as F
    from onnx import numpy_helper
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
BOUND = 1e-10

# ---- the networks in torch, from parameters by name -------------------------------------------


def f32(x):
    """As a Constant of the file has it."""
    return float(np.float32(x))


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / f32(math.sqrt(2))))


class Twin:
    """`w`: the file's parameters; o: what the command line says."""

    def __init__(self, w, first, variance=2.0, scheme="standard", scale=0.1, norm=False, **o):
        self.w, self.first, self.variance, self.scheme, self.scale = w, first, variance, scheme, scale
        self.norm, self.o = norm, o

    def role(self, name):
        """Input and output layers, in the widths that grow."""
        if name == self.first or name.endswith((".depthwise", ".tokens.up")):
            return "input"
        return "output" if name == "head" or name.endswith(".tokens.down") else "hidden"

    def factors(self, name, fan_in, fan_out):
        role = self.role(name)
        if self.scheme == "ntk":
            return f32(math.sqrt(self.variance / fan_in)), f32(self.scale)
        if self.scheme == "mup":
            return (f32({"input": math.sqrt(fan_out), "hidden": 1, "output": fan_in**-0.5}[role]),
                    1 if role == "output" else f32(math.sqrt(fan_out)))
        return 1, 1

    def vector(self, name):
        """What is added to tokens."""
        w = self.w[name]
        factors = {"standard": 1, "ntk": self.scale, "mup": math.sqrt(w.shape[-1])}
        return f32(factors[self.scheme]) * w

    def gain(self, name):
        w = self.w[name]
        return f32(math.sqrt(len(w))) * w if self.scheme == "mup" else w

    def linear(self, name, x):
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        if self.scheme == "standard" and x.dim() == 2:
            weight = weight.T
        a, s = self.factors(name, *weight.shape)
        return a * (x @ weight) + s * bias

    def conv(self, name, x, stride=1, pad=0, groups=1):
        weight = self.w[name + ".weight"]
        a, s = self.factors(name, weight[0].numel(), len(weight))
        y = a * F.conv2d(x, weight, stride=stride, padding=pad, groups=groups)
        if name + ".bias" in self.w:
            y = y + s * self.w[name + ".bias"].reshape(1, -1, 1, 1)
        return y

    def batch_norm(self, name, x):
        if not self.norm:
            return x
        gain, bias = self.gain(name + ".norm.weight"), self.gain(name + ".norm.bias")
        mean = torch.zeros_like(gain)
        return F.batch_norm(x, mean, mean + 1, gain, bias, False, 0.0, 1e-5)

    def active(self, name, x, *window):
        return F.relu(self.batch_norm(name, self.conv(name, x, *window)))

    def layer_norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.gain(name + ".weight"), self.gain(name + ".bias"),
                            f32(1e-5))

    def pooled(self, x):
        return self.linear("head", x.mean((2, 3)))


class Resnet(Twin):
    def block(self, name, x, kernels, strided, stride):
        y = x
        for i, kernel in enumerate(kernels):
            layer, last = f"{name}.conv{i + 1}", i == len(kernels) - 1
            y = self.batch_norm(layer, self.conv(layer, y, stride if i == strided else 1, kernel // 2))
            y = y if last else F.relu(y)
        if y.shape != x.shape:
            x = self.batch_norm(name + ".shortcut", self.conv(name + ".shortcut", x, stride))
        return F.relu(x + y)

    def __call__(self, x):
        kernels, strided = self.o["kernels"], len(self.o["kernels"]) - 2
        x = self.active("stem", x, *((2, 3) if self.o["large"] else (1, 1)))
        x = F.max_pool2d(x, 3, 2, 1) if self.o["large"] else x
        for stage, count in enumerate(self.o["blocks"]):
            for i in range(count):
                x = self.block(f"stage{stage + 1}.block{i + 1}", x, kernels, strided,
                               2 if stage > 0 and i == 0 else 1)
        return self.pooled(x)


class WideResnet(Twin):
    def role(self, name):
        """The stem's 16 channels do not grow."""
        fixed = name in ("stage1.block1.conv1", "stage1.block1.shortcut")
        return "input" if fixed else super().role(name)

    def __call__(self, x):
        x = self.conv("stem", x, 1, 1)
        for stage in range(3):
            for i in range(self.o["n"]):
                name, stride = f"stage{stage + 1}.block{i + 1}", 2 if stage > 0 and i == 0 else 1
                before = F.relu(self.batch_norm(name, x))
                y = self.conv(name + ".conv2", self.active(name + ".conv1", before, stride, 1), 1, 1)
                x = (x if x.shape == y.shape else self.conv(name + ".shortcut", before, stride)) + y
        return self.pooled(F.relu(self.batch_norm("last", x)))


class Mobilenet(Twin):
    STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)

    def __call__(self, x):
        x = self.active("stem", x, 2 if self.o["large"] else 1, 1)
        for i, stride in enumerate(self.STRIDES):
            x = self.active(f"block{i + 1}.depthwise", x, stride, 1, x.shape[1])
            x = self.active(f"block{i + 1}.pointwise", x)
        return self.pooled(x)


class Classifier(Twin):
    """vgg and alexnet: convolutions with their windows, pools."""

    def __call__(self, x):
        for layer in self.o["layers"]:
            if isinstance(layer, int):
                x = F.max_pool2d(x, layer, 2) if x.shape[2] >= layer else x
            else:
                x = self.active(layer[0], x, *layer[1:])
        side = self.o["side"]
        x = F.adaptive_avg_pool2d(x, side) if x.shape[2] > side else x
        x = F.relu(self.linear("dense1", x.flatten(1)))
        return self.linear("head", F.relu(self.linear("dense2", x)))


class Tokens(Twin):
    def perceptron(self, name, x):
        return self.linear(name + ".down", gelu(self.linear(name + ".up", x)))

    def patches(self, x):
        patch = self.w["patch.weight"].shape[-1]
        return self.conv("patch", x, patch).flatten(2).transpose(1, 2)


class Mixer(Tokens):
    def __call__(self, x):
        x = self.patches(x)
        for i in range(self.o["depth"]):
            y = self.layer_norm(f"block{i}.norm1", x).transpose(1, 2)
            x = x + self.perceptron(f"block{i}.tokens", y).transpose(1, 2)
            x = x + self.perceptron(f"block{i}.mlp", self.layer_norm(f"block{i}.norm2", x))
        return self.linear("head", self.layer_norm("norm", x).mean(1))


class Transformer(Tokens):
    def attention(self, name, x, causal):
        q, k, v = (part.reshape(*x.shape[:2], self.o["heads"], -1).transpose(1, 2)
                   for part in self.linear(name + ".qkv", x).chunk(3, -1))
        size = q.shape[-1]
        factor = f32(1 / (size if self.scheme == "mup" else math.sqrt(size)))
        scores = factor * (q @ k.transpose(2, 3))
        if causal:
            above = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(above, -math.inf)
        y = torch.softmax(scores, -1) @ v
        return self.linear(name + ".out", y.transpose(1, 2).reshape(x.shape))

    def blocks(self, x, causal):
        for i in range(self.o["depth"]):
            y = self.layer_norm(f"block{i}.norm1", x)
            x = x + self.attention(f"block{i}.attention", y, causal)
            x = x + self.perceptron(f"block{i}.mlp", self.layer_norm(f"block{i}.norm2", x))
        return self.layer_norm("norm", x)


class Vit(Transformer):
    def __call__(self, x):
        x = self.patches(x)
        x = torch.cat([self.vector("token").expand(len(x), -1, -1), x], 1) + self.vector("position")
        return self.linear("head", self.blocks(x, False)[:, 0])


class Gpt(Transformer):
    def __call__(self, x):
        x = self.blocks(self.vector("embedding")[x] + self.vector("position"), True)[:, -1]
        if not self.o["tied"]:
            return self.linear("head", x)
        return self.factors("head", x.shape[1], 1)[0] * x @ self.w["embedding"].T


class Lstm(Twin):
    def layer(self, name, x):
        weight, recurrence, bias = (self.w[f"{name}.{what}"][0]
                                    for what in ("weight", "recurrence", "bias"))
        width = recurrence.shape[1]
        a, s = self.factors(name, weight.shape[1], width)
        r, _ = self.factors("recurrence", width, width)
        h = c = torch.zeros(len(x), width, dtype=x.dtype)
        states = []
        for t in range(x.shape[1]):
            gates = a * x[:, t] @ weight.T + r * h @ recurrence.T
            i, o, f, new = (gates + s * (bias[:4 * width] + bias[4 * width:])).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(new)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)

    def __call__(self, x):
        for i in range(self.o["depth"]):
            x = self.layer(f"lstm{i}", x)
        return self.linear("head", x[:, -1])


# ---- cases ------------------------------------------------------------------------------------

BASIC, BOTTLENECK = (3, 3), (1, 3, 1)
VGG11 = [("conv1_1", 1, 1), 2, ("conv2_1", 1, 1), 2, ("conv3_1", 1, 1), ("conv3_2", 1, 1), 2,
         ("conv4_1", 1, 1), ("conv4_2", 1, 1), 2, ("conv5_1", 1, 1), ("conv5_2", 1, 1), 2]
ALEXNET = [("conv1", 4, 2), 3, ("conv2", 1, 2), 3, ("conv3", 1, 1), ("conv4", 1, 1),
           ("conv5", 1, 1), 3]

# family, options beside --parameterization, input, schemes, twin, its arguments
CASES = [
    ("resnet18", "--width 3", (3, 8, 8), "standard ntk mup", Resnet,
     dict(first="stem", kernels=BASIC, blocks=(2, 2, 2, 2), large=False)),
    ("resnet34", "--width 2 --norm batch --stem imagenet", (3, 40, 32), "standard mup", Resnet,
     dict(first="stem", kernels=BASIC, blocks=(3, 4, 6, 3), large=True, norm=True)),
    ("resnet50", "--width 2 --norm batch", (3, 8, 8), "standard ntk mup", Resnet,
     dict(first="stem", kernels=BOTTLENECK, blocks=(3, 4, 6, 3), large=False, norm=True)),
    ("wideresnet", "--width 2 --depth 16 --norm batch", (3, 8, 8), "standard ntk mup", WideResnet,
     dict(first="stem", n=2, norm=True)),
    ("wideresnet", "--width 1 --depth 10", (3, 8, 8), "standard", WideResnet,
     dict(first="stem", n=1)),
    ("mobilenet", "--width 2 --stem imagenet", (3, 32, 32), "standard ntk mup", Mobilenet,
     dict(first="stem", large=True)),
    ("mobilenet", "--width 2 --norm batch", (3, 8, 8), "standard mup", Mobilenet,
     dict(first="stem", large=False, norm=True)),
    ("vgg11", "--width 2", (1, 28, 28), "standard ntk mup", Classifier,
     dict(first="conv1_1", layers=VGG11, side=7)),
    ("vgg11", "--width 1 --norm batch", (3, 448, 448), "standard", Classifier,
     dict(first="conv1_1", layers=VGG11, side=7, norm=True)),
    ("alexnet", "--width 2", (3, 32, 32), "standard ntk mup", Classifier,
     dict(first="conv1", layers=ALEXNET, side=6)),
    ("alexnet", "--width 1", (3, 96, 80), "standard", Classifier,
     dict(first="conv1", layers=ALEXNET, side=6)),
    ("mixer", "--width 6 --depth 2", (3, 12, 8), "standard ntk mup", Mixer,
     dict(first="patch", variance=1.0, depth=2)),
    ("vit", "--width 24 --heads 3 --depth 2 --patch 8", (3, 32, 32), "standard mup", Vit,
     dict(first="patch", variance=1.0, heads=3, depth=2)),
    ("vit", "--width 10 --depth 1 --weight-variance 2", (3, 32, 32), "standard ntk", Vit,
     dict(first="patch", heads=1, depth=1)),
    ("gpt", "--width 8 --heads 2 --depth 2 --vocabulary 11", (6,), "standard ntk mup", Gpt,
     dict(first="", variance=1.0, heads=2, depth=2, tied=False)),
    ("gpt", "--width 8 --depth 1 --vocabulary 5 --head tied", (7,), "standard ntk mup", Gpt,
     dict(first="", variance=1.0, heads=1, depth=1, tied=True)),
    ("lstm", "--width 5 --depth 2", (6, 3), "standard ntk mup", Lstm,
     dict(first="lstm0", variance=1.0, depth=2)),
]


def scantk(folder, *arguments):
    run = subprocess.run([SCANTK, *arguments], timeout=300, capture_output=True, text=True,
                         cwd=folder, env=dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1",
                                              OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                                              OMPI_MCA_orte_tmpdir_base=folder))
    if run.returncode != 0:
        raise RuntimeError(f"scantk {' '.join(arguments)}: {run.stderr}")


def parameters_of(path):
    """Those that the metadata name, in f64."""
    model = onnx.load(path)
    names = model.metadata_props[0].value
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()).double()
            for i in model.graph.initializer if f'"{i.name}"' in names}


def kernel_of(twin, w, x):
    """[N, O, N, O] from the Jacobians of all parameters."""
    jacobians = functorch.jacrev(lambda v: twin(v)(x))(w)
    flat = torch.cat([j.flatten(2) for j in jacobians.values()], 2)
    return torch.einsum("nok,mpk->nomp", flat, flat)


def relative(found, expected):
    return float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max())


def errors_of(folder, number, family, options, shape, scheme, make, numbers):
    """Of the outputs and of the kernel."""
    model, data, outputs, kernel = (f"{number}-{scheme}{end}" for end in
                                    (".onnx", "-data.h5", "-outputs.h5", "-kernel.h5"))
    random = np.random.default_rng(number)
    x = random.integers(0, 5, (2, *shape)) if family == "gpt" else random.standard_normal(
        (2, *shape))
    with h5py.File(os.path.join(folder, data), "w") as file:
        file["inputs"] = x
    words = options.split() + ["--parameterization", scheme]
    words += [] if "tied" in words else ["--outputs", "3"]
    scantk(folder, "model", family, *words, "--input", "x".join(map(str, shape)), "--seed",
           str(number), "--output", model)
    read = ["--model", model, "--inputs", data, "--dtype", "f64", "--output"]
    scantk(folder, "forward", *read, outputs)
    scantk(folder, "kernel", "--quiet", *read, kernel)
    w, x = parameters_of(os.path.join(folder, model)), torch.from_numpy(x)

    def twin(v):
        return make(v, scheme=scheme, **numbers)

    with h5py.File(os.path.join(folder, outputs)) as file:
        error = relative(file["outputs"][()], twin(w)(x))
    with h5py.File(os.path.join(folder, kernel)) as file:
        return error, relative(file["kernel"][()], kernel_of(twin, w, x))


def check_case(folder, number, case):
    family, options, shape, schemes, make, numbers = case
    good = True
    for scheme in schemes.split():
        errors = errors_of(folder, number, family, options, shape, scheme, make, numbers)
        fine = max(errors) <= BOUND
        told = "%.1e %.1e" % errors
        print(f"{'ok  ' if fine else 'FAIL'} {told}  {family} {options} {scheme}", flush=True)
        good = good and fine
    return good


# ---- widths -----------------------------------------------------------------------------------


def mean_trace(folder, family, options, scheme, width):
    model, kernel = f"{family}-{scheme}-{width}.onnx", f"{family}-{scheme}-{width}.h5"
    scantk(folder, "model", family, *options, "--width", str(width), "--parameterization", scheme,
           "--seed", "5", "--output", model)
    scantk(folder, "kernel", "--quiet", "--model", model, "--inputs", f"{family}-data.h5",
           "--reduce", "trace", "--output", kernel)
    with h5py.File(os.path.join(folder, kernel)) as file:
        return file["kernel"][()].diagonal().mean()


def check_widths(folder):
    """Two doublings: the kernel in mup and ntk stays, in standard it becomes four times."""
    with h5py.File(os.path.join(folder, "fcn-data.h5"), "w") as file:
        file["inputs"] = np.random.default_rng(1).standard_normal((8, 12))
    good = True
    for scheme, expected in (("standard", 4), ("ntk", 1), ("mup", 1)):
        small, large = (mean_trace(folder, "fcn", ["--input", "12", "--depth", "2"], scheme, width)
                        for width in (256, 1024))
        fine = 0.8 < large / small / expected < 1.25
        print(f"{'ok  ' if fine else 'FAIL'} fcn {scheme}: trace times {large / small:.2f} from "
              "width 256 to 1024")
        good = good and fine
    return good


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        good = [check_case(folder, number, case) for number, case in enumerate(CASES)]
        good.append(check_widths(folder))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
