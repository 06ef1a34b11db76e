#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counting parameters of torch exports: the program gives sum(p.numel()) or refuses the file in one
line, never another number.

    SCANTK=build/bin/scantk tests/onnx/test_torch_import.py

Plain exports, as people make them, of fresh models (equal tensors are merged, BatchNorm may be
folded); and those of scripts/export_torch.py, which must be exact. Exits 77 without torch."""
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
try:
    import onnx
    import torch
    from torch.onnx import TrainingMode
    from export_torch import BY_TORCHSCRIPT, export_model, save
    from torch_models import MODELS
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
# A plain export does not tell a buffer from a parameter (the program warns); ours does.
ONLY_OURS = {"buffers"}
PLAIN = {
    "defaults": {},
    "preserve": {"training": TrainingMode.PRESERVE},
    "unfolded": {"training": TrainingMode.PRESERVE, "do_constant_folding": False},
    "old": {"keep_initializers_as_inputs": True, "opset_version": 11},
}


if BY_TORCHSCRIPT:
    PLAIN = {way: {**arguments, **BY_TORCHSCRIPT} for way, arguments in PLAIN.items()}
    # Today's default merges without Identity and drops what is zero or one.
    if importlib.util.find_spec("onnxscript"):
        PLAIN["dynamo"] = {"dynamo": True, "opset_version": 18, "dynamic_axes": None,
                           "dynamic_shapes": ({0: "batch"},), "verbose": False}


def export_plain(model, shape, path, **arguments):
    torch.manual_seed(0)
    options = {"opset_version": 16, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    buffer = io.BytesIO()
    torch.onnx.export(model.eval(), (torch.randn(2, *shape),), buffer, **{**options, **arguments})
    with open(path, "wb") as file:
        file.write(buffer.getvalue())


def merge_silently(model, path):
    """Turns a file into what torch.export makes of it: no Identity for a merged tensor, but the
    list of parameters in the file (as text anywhere: this onnx may not know the field)."""
    proto = onnx.load(path)
    merged = {n.output[0]: n.input[0] for n in proto.graph.node if n.op_type == "Identity"}
    nodes = [n for n in proto.graph.node if n.op_type != "Identity"]
    for node in nodes:
        node.input[:] = [merged.get(name, name) for name in node.input]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.doc_string = "pkg.torch.export.ExportedProgram.graph_signature\n" + "\n".join(
        f"p_{i}: PARAMETER target='{name}'" for i, (name, _) in enumerate(model.named_parameters()))
    onnx.save(proto, path)


def count(path):
    """(parameters, "") or (None, the line that refuses the file); anything else is an error."""
    done = subprocess.run([SCANTK, "info", path, "--json"], capture_output=True, text=True,
                          timeout=60, env=dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1",
                                               OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                                               OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(
                                                   dir=os.path.dirname(path))))
    if done.returncode == 0:
        return json.loads(done.stdout)["parameters"], ""
    lines = done.stderr.strip().splitlines()
    if done.returncode not in (1, 2) or len(lines) != 1:
        raise RuntimeError(f"exit {done.returncode} with {len(lines)} lines: {done.stderr[:300]}")
    return None, lines[0]


def check(name, way, path, expected, must_accept):
    """Prints a line; whether it is as it must be."""
    try:
        found, reason = count(path)
    except (RuntimeError, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
        print(f"FAIL {name:17}{way:13}{error}")
        return False
    passed = found == expected or (found is None and not must_accept)
    print(f"{'ok  ' if passed else 'FAIL'} {name:17}{way:13}{expected:5}  "
          f"{'refused: ' + reason if found is None else found}")
    return passed


def check_model(name, folder):
    passed = True
    model, shape = MODELS[name]()
    expected = sum(p.numel() for p in model.parameters())
    for way, arguments in PLAIN.items() if name not in ONLY_OURS else ():
        path = os.path.join(folder, f"{name}-{way}.onnx")
        export_plain(model, shape, path, **arguments)
        passed &= check(name, way, path, expected, False)
        if way == "preserve":
            merge_silently(model, path)
            passed &= check(name, "merged", path, expected, False)
    path = os.path.join(folder, name + ".onnx")
    save(export_model(model, [torch.randn(2, *shape)]), path)
    return check(name, "export_torch", path, expected, True) and passed


def main():
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return 0 if all([check_model(name, folder) for name in MODELS]) else 1


if __name__ == "__main__":
    sys.exit(main())
