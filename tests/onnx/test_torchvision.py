#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 1200
"""Classification networks of torchvision, random weights: outputs against torch, the kernel of two
samples against torch.autograd, both in f64 to 1e-10.

    tests/onnx/test_torchvision.py [--all | NAME...] [--record FILE]

Without names it takes one of each kind of architecture, as CI does; --all takes every network of
torchvision.models for images, the smallest first. --record writes each result as a line of FILE; what
stands there as passed is not done again. Exits 77 without torchvision or onnx."""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
try:
    import h5py
    import numpy as np
    import torch
    import torchvision
    from export_torch import ExportError, export_model, save
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
TOLERANCE = 1e-10
ONE_OF_EACH = ["convnext_tiny", "efficientnet_b0", "googlenet", "mnasnet0_5",
               "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18",
               "regnet_x_400mf", "shufflenet_v2_x0_5", "squeezenet1_1", "densenet121"]
# Pixels along an edge where 32 are too few, or the architecture fixes them.
SIZES = {"alexnet": 224, "inception_v3": 75, "squeezenet1_0": 48, "squeezenet1_1": 48,
         "maxvit_t": 224, **{f"vgg{depth}{end}": 224 for depth in (11, 13, 16, 19)
                             for end in ("", "_bn")}}  # 6 x 6 and 7 x 7 before the heads
OPTIONS = {"googlenet": dict(aux_logits=False, init_weights=False),
           "inception_v3": dict(aux_logits=False, init_weights=False)}
LARGE = 1.5e7  # parameters from which the kernel of one output is enough
NARROW = 2e8  # and from which the file is in f32: torch writes none of 2 GiB
BYTES = 60  # of memory for each parameter, about


class Skipped(Exception):
    """A network that was not tried; the text says why."""


def all_names():
    """By size: their files' in torch, where those are known."""
    names = [name for name in torchvision.models.list_models(module=torchvision.models)
             if not name.startswith("quantized_")]
    return sorted(names, key=lambda name: torchvision.models.get_model_weights(name).DEFAULT
                  .meta["num_params"])


def free_memory():
    with open("/proc/meminfo") as file:
        return next(1024 * int(line.split()[1]) for line in file if "MemAvailable" in line)


def require_memory(model):
    """Skipped, rather than to fall to the system."""
    needed = BYTES * sum(p.numel() for p in model.parameters())
    if needed > free_memory():
        raise Skipped(f"needs about {needed / 2**30:.0f} GiB of memory")


def make(name):
    """The network, its values spread so that no layer is at its start, and an image's edge."""
    torch.manual_seed(0)
    size, options = SIZES.get(name, 32), dict(OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        patch = int(name.rsplit("_", 1)[1])
        size = 2 * patch
        options["image_size"] = size
    model = getattr(torchvision.models, name)(weights=None, num_classes=5, **options).eval()
    for module in model.modules():  # attributes of a file are f32
        if isinstance(getattr(module, "eps", None), float):
            module.eps = float(np.float32(module.eps))
    with torch.no_grad():
        for label, tensor in model.named_buffers():
            if label.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif label.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
        for label, tensor in model.named_parameters():
            if tensor.ndim == 1 or not tensor.any() or label.endswith("layer_scale"):
                tensor.add_(0.1 * torch.randn(tensor.shape))
    return model, size


def kernel_of(model, x, count):
    """Theta[n, o, m, p] of the first `count` outputs."""
    parameters = list(model.parameters())
    outputs = model(x)
    rows = [torch.autograd.grad(outputs[n, o], parameters, retain_graph=True, allow_unused=True)
            for n in range(len(x)) for o in range(count)]
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for values in zip(*rows):
        flat = [value.reshape(-1) for value in values if value is not None]
        if flat:
            j = torch.stack(flat)
            gram += j @ j.T
    return gram.reshape(len(x), count, len(x), count).numpy()


def run(folder, *words):
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                       OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=folder))
    done = subprocess.run([SCANTK, *words], cwd=folder, capture_output=True, text=True,
                          env=environment, check=False)
    if done.returncode != 0:
        raise ExportError((done.stderr.strip().splitlines() or ["no message"])[-1])


def gelu_of_file(x):
    """As a file in f32 has it: with the root of two in f32."""
    return x * 0.5 * (1 + torch.erf(x / float(np.float32(np.sqrt(2)))))


def difference(ours, expected):
    if ours.shape != expected.shape:
        raise ExportError(f"shape {ours.shape}, not {expected.shape}")
    return np.abs(ours - expected).max() / np.abs(expected).max()


def check(folder, name):
    """Errors of the outputs and of the kernel."""
    model, size = make(name)
    parameters = sum(p.numel() for p in model.parameters())
    require_memory(model)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, size, size, generator=generator, dtype=torch.float64)
    narrow = parameters > NARROW
    model = model if narrow else model.double()  # and so the constants of the file
    example = x.to(torch.float32 if narrow else torch.float64)
    save(export_model(model, [example]), os.path.join(folder, "m.onnx"))
    model = model.double()
    for module in model.modules():
        if narrow and isinstance(module, torch.nn.GELU):
            module.forward = gelu_of_file
    with h5py.File(os.path.join(folder, "x.h5"), "w") as file:
        file["inputs"] = x.numpy()
    count = 1 if parameters > LARGE else 2
    expected = kernel_of(model, x, count)
    run(folder, "kernel", "--model", "m.onnx", "--inputs", "x.h5", "--output", "k.h5", "--dtype",
        "f64", "--select-outputs", f"0:{count}", "--quiet")
    with h5py.File(os.path.join(folder, "k.h5"), "r") as file:
        ours, outputs = file["kernel"][()], file["outputs1"][()]
    with torch.no_grad():
        due = model(x).numpy()
    if outputs.shape != due.shape:
        due = due[:, :count]
    return difference(outputs, due), difference(ours, expected), outputs.dtype


def passed(record):
    """Names that passed, by a file of results."""
    if not record or not os.path.exists(record):
        return set()
    with open(record) as file:
        return {line.split()[1].rstrip(":") for line in file if line.startswith("ok ")}


def try_network(name):
    """("ok", "FAIL" or "skip", what there is to say)"""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            outputs, kernel, _ = check(folder, name)
        except ExportError as problem:
            return "FAIL", str(problem)
        except Skipped as reason:
            return "skip", str(reason)
    good = outputs < TOLERANCE and kernel < TOLERANCE
    return "ok" if good else "FAIL", f"outputs {outputs:.1e}, kernel {kernel:.1e}"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every network for images")
    parser.add_argument("--record", metavar="FILE", help="where results are kept")
    return parser.parse_args()


def main():
    warnings.simplefilter("ignore")
    arguments = parse_arguments()
    names = all_names() if arguments.all else arguments.names or ONE_OF_EACH
    done = passed(arguments.record)
    results = {"ok": 0, "FAIL": 0, "skip": 0}
    for name in names:
        if name in done:
            results["ok"] += 1
            continue
        start = time.monotonic()
        result, text = try_network(name)
        results[result] += 1
        line = f"{result:4} {name}: {text} ({time.monotonic() - start:.0f} s)"
        print(line, flush=True)
        if arguments.record:
            with open(arguments.record, "a") as file:
                file.write(line + "\n")
    print(f"{len(names)} networks, {results['FAIL']} failures, {results['skip']} not tried")
    return 1 if results["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
