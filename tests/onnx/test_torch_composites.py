#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 900
"""Kernels of torch's exports of recurrent networks, normalisations, attention, loops, and of networks
that use a value or a weight in several places, against torch's own derivatives: four algorithms, all reductions, f64, and no dense Jacobian of a recurrent
weight. Exits 77 without torch."""
import os
import subprocess
import sys
import tempfile
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
try:
    import h5py
    import numpy as np
    import torch
    from torch import nn
    from export_torch import BY_TORCHSCRIPT, export_model, save
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
ALGORITHMS = ("structured", "auto", "jacobian", "ntvp")
ORDERS = ("outside-in", "inside-out", "left-to-right", "constant")
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")


class Recurrent(nn.Module):
    """All outputs of a recurrent layer where `whole`, else the last, and a head."""

    def __init__(self, cell, whole=False, **words):
        super().__init__()
        self.layer = cell(3, 5, **words)
        self.head = nn.Linear(5 * (1 + words.get("bidirectional", False)), 2)
        self.whole, self.axis = whole, 1 if words.get("batch_first") else 0

    def forward(self, x):
        x = self.layer(x if self.axis == 1 else x.transpose(0, 1))[0]
        return self.head(x.sum(self.axis) if self.whole else x.select(self.axis, -1))


class States(nn.Module):
    """Learned first states, and the last ones as output."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3, 4, batch_first=True)
        self.h, self.c = (nn.Parameter(torch.randn(1, 1, 4)) for _ in range(2))

    def forward(self, x):
        states = [s.expand(1, x.shape[0], 4).contiguous() for s in (self.h, self.c)]
        _, (h, c) = self.layer(x, states)
        return torch.cat([h[0], c[0]], 1)


class Encoder(nn.Module):
    """Two heads of 16 channels: a scale that is exact in f32, and so is its root."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 2, 6, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class Looping(nn.Module):
    """A script whose loop and branch stay in the file."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        for i in range(3):
            x = torch.tanh(self.again(x)) + x
        return self.head(x)


class UNet(nn.Module):
    """Down, up, and across: an output for each pixel of an image halved."""

    def __init__(self):
        super().__init__()
        self.inner, self.low = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 3, 2, 2), nn.Conv2d(6, 1, 3, 2, 1)

    def forward(self, x):
        x = torch.tanh(self.inner(x))
        low = torch.tanh(self.low(nn.functional.max_pool2d(x, 2)))
        wide = nn.functional.interpolate(low, scale_factor=2)[:, :3]
        return self.out(torch.cat([x + wide, self.up(low)], 1)).flatten(1)


class SqueezeExcitation(nn.Module):
    """Channels scaled by what all pixels say."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 2)
        self.squeeze, self.excite = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        scale = torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(x.mean((2, 3), True)))))
        return self.head((x * scale).mean((2, 3)))


class Autoencoder(nn.Module):
    """A weight and its transpose."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(4))

    def forward(self, x):
        return torch.tanh(nn.functional.linear(x, self.weight, self.bias)) @ self.weight


class Transformed(nn.Module):
    """An image seen through an affine map that it chooses itself, and the largest of its pixels."""

    def __init__(self):
        super().__init__()
        self.map, self.conv, self.head = nn.Linear(20, 6), nn.Conv2d(1, 2, 2), nn.Linear(5, 2)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 5),
                                       indexing="ij")
        places = torch.stack([columns, rows, torch.ones(4, 5)], -1)
        self.register_buffer("places", places.reshape(20, 3))

    def forward(self, x):
        maps = self.map(x.flatten(1)).view(-1, 2, 3)
        grid = (self.places @ maps.transpose(1, 2)).view(-1, 4, 5, 2)
        x = nn.functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
        return self.head(torch.topk(torch.tanh(self.conv(x)).flatten(1), 5)[0])


class Sines(nn.Module):
    """Coordinates to values, as SIREN does it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(2, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.sin(3 * self.second(torch.sin(30 * self.first(x)))))


def weight_normed():
    norm = nn.utils.weight_norm
    return fresh(norm(nn.Conv1d(2, 3, 3)), nn.Tanh(), nn.Flatten(), norm(nn.Linear(12, 4)),
                 nn.Tanh(), norm(nn.Linear(4, 2), dim=None)), (2, 6)


def fresh(*layers):
    """Gains and biases away from one and zero."""
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5)
    return model


def image(norm):
    return fresh(nn.Conv2d(2, 4, 3, padding=1), norm, nn.Tanh(), nn.Conv2d(4, 3, 3), nn.Flatten(),
                 nn.Linear(27, 2)), (2, 5, 5)


MODELS = {
    "lstm": lambda: (Recurrent(nn.LSTM, batch_first=True), (4, 3)),
    "gru": lambda: (Recurrent(nn.GRU, batch_first=True, whole=True), (4, 3)),
    "rnn": lambda: (Recurrent(nn.RNN, nonlinearity="relu"), (70, 3)),
    "lstm_no_bias": lambda: (Recurrent(nn.LSTM, bias=False), (4, 3)),
    "lstm_layers": lambda: (Recurrent(nn.LSTM, batch_first=True, num_layers=2,
                                      bidirectional=True), (4, 3)),
    "gru_layers": lambda: (Recurrent(nn.GRU, num_layers=2, bidirectional=True, whole=True), (3, 3)),
    "rnn_layers": lambda: (Recurrent(nn.RNN, num_layers=2, bidirectional=True), (3, 3)),
    "states": lambda: (States(), (3, 3)),
    "layer_norm": lambda: (fresh(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 4),
                                 nn.LayerNorm((3, 4)), nn.Flatten(), nn.Linear(12, 2)), (3, 5)),
    "instance_norm": lambda: image(nn.InstanceNorm2d(4, affine=True)),
    "group_norm": lambda: image(nn.GroupNorm(2, 4)),
    "encoder": lambda: (Encoder(), (3, 32)),
    "loop": lambda: (torch.jit.script(Looping()), (3,)),
    "unet": lambda: (UNet(), (1, 4, 4)),
    "squeeze_excitation": lambda: (SqueezeExcitation(), (2, 5, 5)),
    "weight_norm": weight_normed,
    "tied": lambda: (Autoencoder(), (5,)),
    "transformed": lambda: (Transformed(), (1, 4, 5)),
    "sines": lambda: (Sines(), (2,)),
}
RECURRENT = {name for name in MODELS if name.startswith(("lstm", "gru", "rnn"))}


def kernel_of(model, x):
    """[N, O, N, O], and the outputs."""
    parameters = list(model.parameters())
    outputs = [model(sample[None]).reshape(-1) for sample in x]
    rows = [torch.cat([g.reshape(-1) for g in torch.autograd.grad(y, parameters,
                                                                  retain_graph=True)])
            for sample in outputs for y in sample]
    shape = len(x), len(outputs[0])
    jacobian = torch.stack(rows)
    return ((jacobian @ jacobian.T).reshape(*shape, *shape).numpy(),
            torch.stack(outputs).detach().numpy())


def export(model, example, path):
    if not isinstance(model, torch.jit.ScriptModule):
        save(export_model(model, [example], 17), path)
        return
    torch.onnx.export(model, (example,), path, opset_version=17, input_names=["x"],
                      dynamic_axes={"x": {0: "batch"}}, do_constant_folding=False,
                      **BY_TORCHSCRIPT)


def reduced(kernel, reduction):
    if reduction == "trace":
        return np.einsum("nomo->nm", kernel) / kernel.shape[1]
    if reduction == "diagonal":
        return np.einsum("nomo->onm", kernel)
    if reduction == "pseudo":
        return kernel.sum((1, 3)) / kernel.shape[1]
    return kernel


def run(folder, algorithm, reduction, *more):
    output = os.path.join(folder, "k.h5")
    if os.path.exists(output):
        os.remove(output)
    variables = dict(os.environ, OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=folder),
                     OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run([SCANTK, "kernel", "--model", "m.onnx", "--inputs", "x.h5:/x", "--output",
                           "k.h5", "--dtype", "f64", "--algorithm", algorithm, "--reduce",
                           reduction, *more], cwd=folder, env=variables, capture_output=True,
                          text=True, timeout=100)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip()[-500:])
    with h5py.File(output) as file:
        return file["kernel"][()], file["outputs1"][()], done.stdout + done.stderr


def reductions(algorithm, number):
    """All for factors; of the others `none` and one more, in turn over the networks."""
    if algorithm == "structured":
        return REDUCTIONS
    return "none", REDUCTIONS[1 + (number + ALGORITHMS.index(algorithm)) % 3]


def contracted(said):
    """K of each row of --explain; 1 where Jacobians are formed by vjp."""
    rows = (line.split() for line in said.splitlines())
    return [int(row[3]) for row in rows if row and row[0] in ORDERS]


class Composites(unittest.TestCase):
    def check(self, name, folder):
        torch.manual_seed(0)
        model, shape = MODELS[name]()
        model.eval()
        for module in model.modules():  # as the file has it
            if hasattr(module, "eps"):
                module.eps = float(np.float32(module.eps))
        export(model, torch.randn(2, *shape), os.path.join(folder, "m.onnx"))
        x = torch.randn(5, *shape, dtype=torch.float64)
        with h5py.File(os.path.join(folder, "x.h5"), "w") as file:
            file["x"] = x.numpy()
        kernel, outputs = kernel_of(model.double(), x)
        for algorithm in ALGORITHMS:
            for reduction in reductions(algorithm, list(MODELS).index(name)):
                expected = reduced(kernel, reduction)
                more = () if algorithm == "structured" and reduction == "none" else ("--quiet",)
                found, values, said = run(folder, algorithm, reduction,
                                          *(more or ("--explain",)))
                error = np.abs(found - expected).max() / np.abs(expected).max()
                self.assertLess(error, 1e-10, (name, algorithm, reduction))
                self.assertLess(np.abs(values - outputs).max(), 1e-12, name)
                if not more and name in RECURRENT:
                    self.assertGreater(min(contracted(said)), 1, said)
                if not more and name == "tied":  # W and W^T, with factors
                    self.assertIn("weight[0]*[1]", said)


def add_test(name):
    def test(self):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self.check(name, folder)
    setattr(Composites, "test_" + name, test)


for name_of_model in MODELS:
    add_test(name_of_model)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    unittest.main()
