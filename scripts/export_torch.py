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
Where a torch.nn.Embedding has a padding_idx, lookups of that row become a constant: torch's gradient
is zero there.
Needs torch >= 1.13 and the Python package onnx (Debian: python3-torch, python3-onnx).
"""
import inspect
import io
import sys

try:
    import numpy
    import onnx
    import torch
    from onnx import helper, numpy_helper
    from exporting import (ExportError, input_names, load_function, parser_of, run_script, save,
                           set_metadata, sizes_of)
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"export_torch: error: {missing} for {sys.executable}; Debian: python3-torch, "
             "python3-onnx")

# Since torch 2.5 there is another exporter, which merges and drops silently.
BY_TORCHSCRIPT = ({"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters
                  else {})


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
    inputs_of = input_names(inputs)
    arguments = dict(
        opset_version=opset, training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False, input_names=inputs_of, output_names=["output"],
        dynamic_axes={name: {0: "batch"} for name in inputs_of + ["output"]}, **BY_TORCHSCRIPT)
    buffer = io.BytesIO()
    try:
        torch.onnx.export(model, tuple(inputs), buffer, **arguments)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"torch cannot export it: {str(error).splitlines()[0]}") from error
    return onnx.load_model_from_string(buffer.getvalue())


def drop_state(proto, names):
    """Takes the elements out of the named initializers; returns the bytes of the rest."""
    for initializer in proto.graph.initializer:
        if initializer.name in names:
            initializer.ClearField("raw_data")
            initializer.ClearField("float_data")
            initializer.ClearField("double_data")
    return proto.SerializeToString(deterministic=True)


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


def padding_rows(model):
    """{name of a table: the row whose lookups have no derivative}."""
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    rows = {}
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding) and id(module.weight) in names:
            rows.setdefault(names[id(module.weight)], set()).add(module.padding_idx)
    for name, found in rows.items():
        if len(found) > 1:
            raise ExportError(f"{name} is the table of embeddings that differ in padding_idx")
    return {name: row for name, (row,) in rows.items() if row is not None}


def hold_padding(proto, model):
    """Lookups of a padding row give a constant, as in torch its gradient is zero."""
    rows, nodes = padding_rows(model), []
    tables = {i.name: i for i in proto.graph.initializer if i.name in rows}
    for name, table in tables.items():
        row = numpy_helper.to_array(table)[rows[name]]
        proto.graph.initializer.extend([
            numpy_helper.from_array(row, name + ".padding"),
            numpy_helper.from_array(numpy.array(rows[name]), name + ".padding_idx"),
            numpy_helper.from_array(numpy.array([-1]), name + ".padding_axis")])
    for node in proto.graph.node:
        nodes.append(node)
        if node.op_type == "Gather" and node.input[0] in tables:
            name, output = node.input[0], node.output[0]
            looked, ids, padded, wide = (output + part for part in (".row", ".ids", ".is", ".wide"))
            node.output[0] = looked
            nodes += [helper.make_node("Cast", [node.input[1]], [ids], to=onnx.TensorProto.INT64),
                      helper.make_node("Equal", [ids, name + ".padding_idx"], [padded]),
                      helper.make_node("Unsqueeze", [padded, name + ".padding_axis"], [wide]),
                      helper.make_node("Where", [wide, name + ".padding", looked], [output])]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


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
        first = drop_state(proto, names)
        fill_distinct(model, 2)
        second = drop_state(trace(model, inputs, opset), names)
    finally:
        with torch.no_grad():
            for (_, tensor), (_, values) in zip(state, truth):
                tensor.copy_(values)
        model.train(was_training)
    if first != second:
        raise ExportError("the graph depends on the values of parameters or buffers (an .item(), a "
                          "branch, a constant made from them): it cannot be exported faithfully")
    check_names(proto, model)
    write_state(proto, truth)
    hold_padding(proto, model)
    set_metadata(proto, [name for name, _ in model.named_parameters()])
    return proto


def run_onnx(path, inputs):
    """The file's outputs by a runtime that is here, or None."""
    feeds = {name: x.numpy() for name, x in zip(input_names(inputs), inputs)}
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


def load_checkpoint(model, path):
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    model.load_state_dict(state)


def example_inputs(model, shapes):
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    return [torch.randn([2, *sizes], dtype=dtype) for sizes in sizes_of(shapes)]


def parse():
    parser = parser_of(__doc__, "function", "MODULE:FUNCTION", "3x32x32")
    parser.add_argument("--checkpoint", metavar="C.pt", help="state_dict to load first")
    parser.add_argument("--opset", type=int, default=16)
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
    run_script("export_torch", main)
