#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a PyTorch model as an ONNX file in which every parameter is found again.

    scripts/export_torch.py MODULE:FUNCTION --input-shape 3x32x32 -o model.onnx

FUNCTION() returns a torch.nn.Module, or a pair (module, example inputs). MODULE is a module's
name or a .py file. --input-shape is the shape of ONE sample, once per input; the batch axis is
put in front and stays free in the file.

torch.onnx.export by itself folds BatchNorm into convolutions, drops names and merges tensors that
happen to have equal values (fresh norm gains, zero biases). Here nothing is folded, and the export
is made with distinct random values in every parameter and float buffer; the true values are
written into the file afterwards, by name. The file's metadata `scantk.parameters` lists the names.
Needs torch >= 1.13 and the Python package onnx (Debian: python3-torch, python3-onnx).
"""
import argparse
import importlib
import importlib.util
import inspect
import io
import json
import os
import sys

try:
    import onnx
    import torch
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"export_torch: error: {missing} for {sys.executable}; Debian: python3-torch, "
             "python3-onnx")


class ExportError(Exception):
    """The model cannot be exported faithfully; the text says why."""


def float_state(model):
    """(name, tensor) of all parameters and float buffers; a tied tensor stands once."""
    named = list(model.named_parameters()) + list(model.named_buffers())
    return [(name, tensor) for name, tensor in named if tensor.is_floating_point()]


@torch.no_grad()
def fill_distinct(model, seed):
    """Random values in [0.5, 1.5); first elements are distinct by construction."""
    state = float_state(model)
    generator = torch.Generator().manual_seed(seed)
    for index, (_, tensor) in enumerate(state):
        values = torch.rand(tensor.shape, generator=generator) + 0.5
        if values.numel():
            shift = torch.rand((), generator=generator).item()
            values.view(-1)[0] = 0.5 + (index + shift) / len(state)
        tensor.copy_(values)


def trace(model, inputs, opset):
    """torch.onnx.export into memory, nothing folded; returns the ModelProto."""
    inputs_of = [f"input{i}" if i else "input" for i in range(len(inputs))]
    arguments = dict(
        opset_version=opset, training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False, input_names=inputs_of, output_names=["output"],
        dynamic_axes={name: {0: "batch"} for name in inputs_of + ["output"]})
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        arguments["dynamo"] = False
    buffer = io.BytesIO()
    torch.onnx.export(model, tuple(inputs), buffer, **arguments)
    return onnx.load_model_from_string(buffer.getvalue())


def without_state(proto, names):
    """The file's bytes without the elements of the named initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for initializer in copy.graph.initializer:
        if initializer.name in names:
            initializer.ClearField("raw_data")
            initializer.ClearField("float_data")
            initializer.ClearField("double_data")
    return copy.SerializeToString(deterministic=True)


def raw_bytes(tensor):
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.numpy().tobytes()


def write_state(proto, state):
    """Puts the tensors' values into the initializers of their names."""
    values = dict(state)
    for initializer in proto.graph.initializer:
        tensor = values.get(initializer.name)
        if tensor is None:
            continue
        if tuple(initializer.dims) != tuple(tensor.shape):
            raise ExportError(f"{initializer.name} has the shape {tuple(initializer.dims)} in the "
                              f"file and {tuple(tensor.shape)} in the model")
        for field in ("float_data", "double_data", "int32_data"):
            initializer.ClearField(field)
        initializer.raw_data = raw_bytes(tensor)


def check_names(proto, model):
    """The file must hold every parameter of the model under its own name."""
    present = {initializer.name for initializer in proto.graph.initializer}
    missing = [name for name, _ in model.named_parameters() if name not in present]
    if missing:
        raise ExportError("not in the exported graph: " + ", ".join(missing) + " (not used by the "
                          "forward pass, or transformed by the exporter; delete what is not used)")


def set_metadata(proto, model):
    entry = proto.metadata_props.add()
    entry.key = "scantk.parameters"
    entry.value = json.dumps([name for name, _ in model.named_parameters()])


def export_model(model, inputs, opset=16):
    """The ModelProto of `model`, in inference mode, with its true values; `inputs` is a list of
    example tensors with a batch axis in front. The model is left as it was."""
    was_training = model.training
    model.eval()
    state = float_state(model)
    names = {name for name, _ in state}
    truth = [(name, tensor.detach().clone()) for name, tensor in state]
    try:
        fill_distinct(model, 1)
        proto = trace(model, inputs, opset)
        fill_distinct(model, 2)
        again = trace(model, inputs, opset)
    finally:
        with torch.no_grad():
            for (_, tensor), (_, values) in zip(state, truth):
                tensor.copy_(values)
        model.train(was_training)
    if without_state(proto, names) != without_state(again, names):
        raise ExportError("the graph depends on the values of parameters or buffers (an .item(), a "
                          "branch, a constant made from them): it cannot be exported faithfully")
    check_names(proto, model)
    write_state(proto, truth)
    set_metadata(proto, model)
    return proto


def save(proto, path):
    """Beside, then rename; elements beyond protobuf's 2 GiB go to PATH.data."""
    if proto.ByteSize() >= 2**31:
        onnx.save_model(proto, path, save_as_external_data=True,
                        location=os.path.basename(path) + ".data")
        return
    temporary = path + ".new"
    try:
        with open(temporary, "wb") as file:
            file.write(proto.SerializeToString())
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def run_onnx(path, inputs):
    """The file's outputs by a runtime that is here, or None."""
    feeds = {f"input{i}" if i else "input": x.numpy() for i, x in enumerate(inputs)}
    try:
        import onnxruntime
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)[0]
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(path).run(None, feeds)[0]
    except ImportError:
        return None


@torch.no_grad()
def compare_outputs(model, inputs, path):
    """max|difference| / max|output| of file and model, or None where nothing runs the file."""
    got = run_onnx(path, inputs)
    if got is None:
        return None
    model.eval()
    expected = model(*inputs).double()
    difference = (torch.from_numpy(got).double() - expected).abs().max()
    error = (difference / expected.abs().max().clamp_min(1e-30)).item()
    if not error < 1e-3:
        raise ExportError(f"the file's outputs differ from the model's by {error:.1e}")
    return error


def load_function(text):
    module_name, _, function_name = text.rpartition(":")
    if not module_name:
        raise ExportError(f"{text}: expected MODULE:FUNCTION")
    sys.path.insert(0, os.getcwd())
    if module_name.endswith(".py"):
        spec = importlib.util.spec_from_file_location("exported_model", module_name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise ExportError(f"{module_name}: there is no such module; give a .py file or "
                              "set PYTHONPATH") from error
    if not hasattr(module, function_name):
        raise ExportError(f"{module_name} has no function {function_name}")
    return getattr(module, function_name)


def load_checkpoint(model, path):
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    model.load_state_dict(state)


def example_inputs(model, shapes):
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    for shape in shapes:
        if not all(n.isdigit() and int(n) > 0 for n in shape.split("x")):
            raise ExportError(f"--input-shape {shape}: expected sizes such as 3x32x32")
    sizes = [[2] + [int(n) for n in shape.split("x")] for shape in shapes]
    return [torch.randn(size, dtype=dtype) for size in sizes]


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", metavar="MODULE:FUNCTION")
    parser.add_argument("--checkpoint", metavar="C.pt", help="state_dict to load first")
    parser.add_argument("--input-shape", nargs="+", metavar="3x32x32", default=[])
    parser.add_argument("--opset", type=int, default=16)
    parser.add_argument("-o", "--output", required=True, metavar="M.onnx")
    return parser.parse_args()


def main():
    arguments = parse()
    made = load_function(arguments.function)()
    model, inputs = made if isinstance(made, tuple) else (made, None)
    if arguments.checkpoint:
        load_checkpoint(model, arguments.checkpoint)
    if arguments.input_shape:
        inputs = example_inputs(model, arguments.input_shape)
    if inputs is None:
        raise ExportError("--input-shape is needed: the function returns no example inputs")
    inputs = [inputs] if torch.is_tensor(inputs) else list(inputs)
    save(export_model(model, inputs, arguments.opset), arguments.output)
    error = compare_outputs(model, inputs, arguments.output)
    checked = ("outputs not compared (no onnxruntime, no onnx.reference)" if error is None
               else f"outputs agree to {error:.1e}")
    tensors = list(model.parameters())
    print(f"{arguments.output}: {len(tensors)} parameter tensors, "
          f"{sum(p.numel() for p in tensors)} parameters; {checked}")


if __name__ == "__main__":
    try:
        main()
    except (ExportError, OSError) as error:
        sys.exit(f"export_torch: error: {error}")
