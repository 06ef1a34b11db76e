#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/export_torch.py: every parameter under its name with its true value, nothing merged or
folded, ties kept, and a refusal where that cannot be. Exits 77 without torch."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, "..", "..", "scripts", "export_torch.py")
sys.path.insert(0, os.path.dirname(SCRIPT))
try:
    import numpy as np
    import torch
    from onnx import load, numpy_helper
    from torch import nn
    from export_torch import ExportError, export_model
    from torch_models import MODELS, Tied
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def initializers(proto):
    return {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}


def listed(proto):
    return json.loads({p.key: p.value for p in proto.metadata_props}["scantk.parameters"])


class Reading(nn.Module):
    """Its graph depends on a parameter's value."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.linear(x) * self.gain.item()


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.forgotten = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x)


class Strange(nn.Module):
    """With an operation that ONNX has not."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return torch.special.bessel_j0(self.linear(x))


class Export(unittest.TestCase):
    def check(self, model, shape):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        proto = export_model(model, [torch.randn(2, *shape)])
        stored = initializers(proto)
        self.assertEqual(listed(proto), [name for name, _ in model.named_parameters()])
        for name, value in list(model.named_parameters()) + list(model.named_buffers()):
            if name in stored or isinstance(value, nn.Parameter):
                self.assertTrue(np.array_equal(stored[name], value.detach().numpy()), name)
        self.assertNotIn("Identity", {node.op_type for node in proto.graph.node})
        for name, value in model.state_dict().items():
            self.assertTrue(torch.equal(value, before[name]), name)
        return proto

    def test_fresh_models(self):
        for name, make in MODELS.items():
            with self.subTest(name):
                self.check(*make())

    def test_batch_norm_stays(self):
        proto = self.check(*MODELS["batch_norms"]())
        self.assertEqual([n.op_type for n in proto.graph.node].count("BatchNormalization"), 3)

    def test_tie_is_one_tensor(self):
        stored = initializers(self.check(Tied(), (5,)))
        self.assertIn("first.weight", stored)
        self.assertNotIn("second.weight", stored)

    def test_training_mode_is_restored(self):
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 1)).train()
        proto = self.check(model, (3,))
        self.assertTrue(model.training)
        self.assertNotIn("Dropout", {node.op_type for node in proto.graph.node})

    def test_batch_axis_is_free(self):
        proto = self.check(nn.Linear(3, 2), (3,))
        for value in list(proto.graph.input) + list(proto.graph.output):
            self.assertEqual(value.type.tensor_type.shape.dim[0].dim_param, "batch")

    def test_value_in_the_graph_is_refused(self):
        with self.assertRaisesRegex(ExportError, "values of parameters"):
            export_model(Reading(), [torch.randn(2, 3)])

    def test_unused_parameter_is_refused(self):
        with self.assertRaisesRegex(ExportError, "forgotten.weight, forgotten.bias"):
            export_model(Unused(), [torch.randn(2, 3)])

    def test_what_torch_cannot_export_is_refused(self):
        with self.assertRaisesRegex(ExportError, "^torch cannot export it: .*bessel_j0[^\n]*$"):
            export_model(Strange(), [torch.randn(2, 3)])


class Command(unittest.TestCase):
    def run_script(self, folder, *words):
        return subprocess.run([sys.executable, "-W", "ignore", SCRIPT, *words], cwd=folder,
                              capture_output=True, text=True)

    def test_checkpoint(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "net.py"), "w") as file:
                file.write("from torch import nn\n"
                           "def make():\n    return nn.Sequential(nn.Linear(4, 2))\n")
            model = nn.Sequential(nn.Linear(4, 2))
            torch.save({"state_dict": model.state_dict()}, os.path.join(folder, "c.pt"))
            done = self.run_script(folder, "net:make", "--checkpoint", "c.pt", "--input-shape",
                                   "4", "-o", "m.onnx")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("2 parameter tensors, 10 parameters", done.stdout)
            stored = initializers(load(os.path.join(folder, "m.onnx")))
            self.assertTrue(np.array_equal(stored["0.weight"], model[0].weight.detach().numpy()))
            self.assertNotIn("m.onnx.new", os.listdir(folder))

    def test_wrong_words_are_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "net.py"), "w") as file:
                file.write("from torch import nn\ndef make():\n    return nn.Linear(4, 2)\n")
            for words, name in ((["net.py:make"], "--input-shape"),
                                (["net.py:make", "--input-shape", "4xa"], "--input-shape 4xa"),
                                (["net.py:mak", "--input-shape", "4"], "mak"),
                                (["nets:make", "--input-shape", "4"], "nets"),
                                (["nets.py:make", "--input-shape", "4"], "nets.py")):
                done = self.run_script(folder, *words, "-o", "m.onnx")
                self.assertEqual(done.returncode, 1)
                self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
                self.assertIn(name, done.stderr)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    unittest.main()
