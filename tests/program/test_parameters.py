#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
# timeout: 600
"""--parameters: the kernel of a model with another's values is that other model's, to the bit; what
does not fit the model, or is damaged, is one line and never a crash."""
import json
import os
import re
import struct
import sys

from program import expect, must, np, read, run, run_cases, values_of, write_data

SIZES = {"small": (6, 5), "large": (96, 600)}  # the large one is held once per node
DATA = 12


def at(folder, name):
    return os.path.join(folder, name)


def names_of(width, inputs):
    return {"hidden0.weight": (width, inputs), "hidden0.bias": (width,),
            "hidden1.weight": (width, width), "hidden1.bias": (width,),
            "head.weight": (3, width), "head.bias": (3,)}


def values_in(path, shapes):
    """The parameters of a model of our own, by name."""
    with open(path, "rb") as file:
        model = file.read()
    return {name: np.frombuffer(model[slice(*values_of(model, name))], "<f4").reshape(shape)
            for name, shape in shapes.items()}


def write_safetensors(path, arrays, kinds=None):
    """kinds: name of the type of bytes that are given as such."""
    header, parts, start = {"__metadata__": {"format": "pt", "a": "{\"b\": [1]}"}}, [], 0
    for name, array in arrays.items():
        kind = (kinds or {}).get(name) or {"f2": "F16", "f4": "F32", "f8": "F64",
                                           "i8": "I64"}[array.dtype.str[1:]]
        parts.append(array.tobytes())
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [start, start + len(parts[-1])]}
        start += len(parts[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def write_hdf5(path, arrays):
    write_data(path, **arrays)


def write_fortran(path, arrays):
    np.savez_compressed(path, **{name: np.asfortranarray(a) for name, a in arrays.items()})


def write_big_endian(path, arrays):
    np.savez(path, **{name: a.astype(a.dtype.newbyteorder(">")) for name, a in arrays.items()})


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_packed(path, arrays):
    np.savez_compressed(path, **arrays)


WRITERS = {"npz": write_npz, "packed.npz": write_packed, "fortran.npz": write_fortran,
           "big.npz": write_big_endian, "h5": write_hdf5, "safetensors": write_safetensors}


def make(folder):
    for size, (inputs, width) in SIZES.items():
        for seed in (1, 2):
            must(folder, "model", "fcn", "--input", str(inputs), "--width", str(width), "--depth",
                 "2", "--outputs", "3", "--seed", str(seed), "-o", f"{size}{seed}.onnx")
        write_data(at(folder, f"{size}.h5"),
                   inputs=np.random.default_rng(3).standard_normal((DATA, inputs)))
        must(folder, *words_of(size, 2), "--output", f"{size}-due.h5", "--write-plan",
             f"{size}.plan")


def words_of(size, seed):
    return ["kernel", "--model", f"{size}{seed}.onnx", "--inputs", f"{size}.h5", "--quiet"]


def others(folder, size):
    """The values of the second model."""
    inputs, width = SIZES[size]
    return values_in(at(folder, f"{size}2.onnx"), names_of(width, inputs))


def provenance(path):
    return json.loads(read(path, "provenance").decode())


def check_same(folder, size, ending, ranks):
    name, output = f"{size}-{ranks}.{ending}", f"{size}-{ranks}-{ending}.out.h5"
    WRITERS[ending](at(folder, name), others(folder, size))
    must(folder, *words_of(size, 1), "--plan", f"{size}.plan", "--parameters", name, "--output",
         output, ranks=ranks)
    due, found = at(folder, f"{size}-due.h5"), at(folder, output)
    expect((read(due, "kernel") == read(found, "kernel")).all(), f"{output}: another kernel")
    expect((read(due, "outputs1") == read(found, "outputs1")).all(), f"{output}: other outputs")
    told = provenance(found)
    expect(told["parameters_digest"] == provenance(due)["parameters_digest"], "another digest")
    expect(told["parameters_file"] == name, f"not told: {told['parameters_file']}")


def kernel_with(folder, file, *words):
    output = f"{file}.out.h5"
    must(folder, *words_of("small", 1), "--dtype", "f64", "--parameters", file, "--output", output,
         *words)
    return read(at(folder, output), "kernel")


def check_halves(folder):
    """Halves are those numbers, widened; 64 bits are not cut where the kernel has as many."""
    values = others(folder, "small")
    for kind in ("F16", "BF16"):
        if kind == "F16":
            halves = {k: v.astype("<f2") for k, v in values.items()}
            wide = {k: v.astype("<f4") for k, v in halves.items()}
        else:
            halves = {k: (v.view("<u4") >> 16).astype("<u2") for k, v in values.items()}
            wide = {k: (v.astype("<u4") << 16).view("<f4") for k, v in halves.items()}
        write_safetensors(at(folder, f"{kind}.st"), halves, {k: kind for k in values})
        np.savez(at(folder, f"{kind}.npz"), **wide)
        due = kernel_with(folder, f"{kind}.npz")
        expect((kernel_with(folder, f"{kind}.st") == due).all(), kind)
        if kind == "F16":
            halves_due = due
    np.savez(at(folder, "half.npz"), **{k: v.astype("f2") for k, v in values.items()})
    expect((kernel_with(folder, "half.npz") == halves_due).all(), "f2 in npz")
    write_hdf5(at(folder, "half.h5"), {k: v.astype("f2") for k, v in values.items()})
    expect((kernel_with(folder, "half.h5") == halves_due).all(), "f2 in HDF5")
    exact = {k: v.astype("f8") / 3 for k, v in values.items()}
    np.savez(at(folder, "f64.npz"), **exact)
    x = read(at(folder, "small.h5"), "inputs")
    h0 = np.maximum(x @ exact["hidden0.weight"].T + exact["hidden0.bias"], 0)
    h1 = np.maximum(h0 @ exact["hidden1.weight"].T + exact["hidden1.bias"], 0)
    due = np.einsum("nk,mk,op->nomp", h1, h1, np.eye(3))
    found = kernel_with(folder, "f64.npz", "--only", "head.weight")
    expect(np.abs(found - due).max() < 1e-13 * np.abs(due).max(), "64 bits were cut")


def check_refused(folder, words, pattern, code=2, ranks=1):
    ended = run(folder, *words, ranks=ranks)
    expect(ended.code == code and len(ended.err) == 1 and re.search(pattern, ended.err[0]),
           f"not refused with {code} and /{pattern}/: {ended}")


def check_names(folder):
    values = others(folder, "small")
    cases = {"unknown": (dict(values, extra=np.zeros(3)), "no float tensor 'extra'"),
             "missing": ({k: v for k, v in values.items() if k != "head.bias"},
                         "'head.bias' is missing"),
             "misshapen": (dict(values, **{"head.weight": np.zeros((5, 3))}),
                           r"'head.weight' is \[5, 3\], in the model \[3, 5\]"),
             "integer": (dict(values, **{"head.bias": np.zeros(3, "i8")}), "of type i64"),
             "counter": (dict(values, **{"bn.num_batches_tracked": np.array(7)}), None)}
    for name, (arrays, pattern) in cases.items():
        for ending in ("npz", "h5", "safetensors"):
            file = f"{name}.{ending}"
            WRITERS[ending](at(folder, file), arrays)
            words = ["--model", "small1.onnx", "--inputs", "small.h5", "--parameters", file]
            if not pattern:
                must(folder, "info", "small1.onnx", "--parameters", file)
                continue
            for command in (["kernel", "--quiet"], ["forward"], ["plan"]):
                output = ["--output", "never.h5"] if command != ["plan"] else []
                check_refused(folder, [*command, *words, *output], f"{file}: .*{pattern}")
    check_refused(folder, [*words_of("small", 1), "--parameters", "missing.npz", "--output",
                           "never.h5"], "missing", ranks=3)
    check_refused(folder, [*words_of("small", 1), "--parameters", "none.npz", "--output",
                           "never.h5"], "none.npz", 1)
    # what is frozen counts too
    check_refused(folder, [*words_of("small", 1), "--parameters", "missing.npz", "--freeze",
                           "head.bias", "--output", "never.h5"], "'head.bias' is missing")
    values["head.bias"] = np.array([1, np.nan, 2], "f4")
    np.savez(at(folder, "nan.npz"), **values)
    check_refused(folder, [*words_of("small", 1), "--parameters", "nan.npz", "--output",
                           "never.h5"], "'head.bias': element 1", 3)


def check_damaged(folder):
    """Cut anywhere, or with any byte turned: refused, or the values are right or were changed in
    place (only zip has checksums); never a crash."""
    values = others(folder, "small")
    for ending in ("npz", "packed.npz", "safetensors", "h5"):
        name = f"whole.{ending}"
        WRITERS[ending](at(folder, name), values)
        with open(at(folder, name), "rb") as file:
            whole = file.read()
        places = np.unique(np.linspace(0, len(whole) - 1, 12).astype(int))
        if ending == "safetensors":
            places = np.unique(np.concatenate([places, np.arange(0, 160, 9)]))
        for place in places:
            turned = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:]
            for kind, damaged in (("cut", whole[:place]), ("turned", turned)):
                file = f"damaged.{ending}"
                with open(at(folder, file), "wb") as out:
                    out.write(damaged)
                ended = run(folder, "info", "small1.onnx", "--parameters", file)
                expect(ended.code in (0, 1, 2) and len(ended.err) == (ended.code > 0)
                       and (kind == "turned" or ended.code > 0), f"{kind} at {place}: {ended}")


def check_resume(folder):
    values = others(folder, "small")
    np.savez(at(folder, "first.npz"), **values)
    np.savez(at(folder, "second.npz"), **{k: v + 1 for k, v in values.items()})
    words = [*words_of("small", 1), "--output", "resumed.h5", "--resume"]
    must(folder, *words, "--parameters", "first.npz")
    must(folder, *words, "--parameters", "first.npz")
    check_refused(folder, [*words, "--parameters", "second.npz"], "values of the parameters")
    check_refused(folder, words, "values of the parameters")
    # frozen tensors are no parameters, but they make the kernel what it is
    words += ["--only", "head.weight", "--output=frozen.h5"]
    words.remove("resumed.h5")
    words.remove("--output")
    values["hidden0.bias"] = values["hidden0.bias"] + 1
    np.savez(at(folder, "third.npz"), **values)
    must(folder, *words, "--parameters", "first.npz")
    check_refused(folder, [*words, "--parameters", "third.npz"], "other tensors given")


def check_file_changed(folder):
    """The model itself is left as it was."""
    with open(at(folder, "small1.onnx"), "rb") as file:
        before = file.read()
    np.savez(at(folder, "again.npz"), **others(folder, "small"))
    must(folder, "forward", "--model", "small1.onnx", "--inputs", "small.h5", "--parameters",
         "again.npz", "--output", "f.h5", ranks=3)
    due = read(at(folder, "small-due.h5"), "outputs1")
    expect(np.abs(read(at(folder, "f.h5"), "outputs") - due).max() < 1e-5, "other outputs")
    with open(at(folder, "small1.onnx"), "rb") as file:
        expect(file.read() == before, "the model was changed")


def cases(folder):
    make(folder)
    for ending in WRITERS:
        yield f"small, {ending}", lambda e=ending: check_same(folder, "small", e, 1)
    for ending in ("npz", "h5", "safetensors"):
        yield f"large, {ending}", lambda e=ending: check_same(folder, "large", e, 3)
    yield "large, one rank", lambda: check_same(folder, "large", "packed.npz", 1)
    yield "halves", lambda: check_halves(folder)
    yield "names", lambda: check_names(folder)
    yield "damaged", lambda: check_damaged(folder)
    yield "resume", lambda: check_resume(folder)
    yield "forward", lambda: check_file_changed(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
