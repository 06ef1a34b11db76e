#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""Files of results: what `info` says of them, what viewers of NeXus files find in them; kernels of
groups of parameters are solved with and verified like whole ones."""
import json
import os
import shutil
import sys

from program import (MAX_RANKS, expect, h5py, must, np, read, run, run_cases, write_data)

N, M, O = 17, 6, 3
TWO = min(2, MAX_RANKS)
KERNEL = ["--dtype", "f64", "--block", "5x2", "--quiet"]
GROUPS = ["--group", "head=head*", "--group", "rest=hidden*.weight"]
FILES = {"S.h5": "solution", "time.h5": "solution", "free.h5": "solution", "E.h5": "spectrum",
         "diagonal-E.h5": "spectrum", "F.h5": "features", "P.h5": "features",
         "fit.h5": "features-fit", "forward.h5": "outputs", "linearized.h5": "linearized"}


def at(folder, name):
    return os.path.join(folder, name)


def kernel(folder, output, *words):
    must(folder, "kernel", "--model", "m.onnx", "--inputs", "D.h5", "--range", f"0:{N}", *KERNEL,
         *words, "-o", output)


def make(folder):
    values = np.random.default_rng(5)
    write_data(at(folder, "D.h5"), inputs=values.normal(size=(N + M, 6)),
               labels=values.integers(0, O, N + M))
    must(folder, "model", "fcn", "--input", "6", "--width", "9", "--depth", "2", "--outputs", str(O),
         "-o", "m.onnx")
    kernel(folder, "K.h5", *GROUPS)
    kernel(folder, "diagonal.h5", "--reduce", "diagonal")
    must(folder, "kernel", "--model", "m.onnx", "--inputs", "D.h5", "--range", f"{N}:{N + M}",
         "--range2", f"0:{N}", *KERNEL, *GROUPS, "-o", "T.h5")
    solve = ["solve", "--kernel", "K.h5", "--quiet", "--ridge", "1e-3,1e-2"]
    must(folder, *solve, "--test-kernel", "T.h5", "-o", "S.h5", ranks=TWO)
    must(folder, *solve, "--time", "1,inf", "-o", "time.h5")
    network = ["--model", "m.onnx", "--inputs", "D.h5", "--range", f"0:{N}"]
    must(folder, "solve", "--method", "matrix-free", *network, "--ridge", "1e-3,1e-2", "--quiet",
         "-o", "free.h5", ranks=TWO)
    for name, kernel_file in (("E.h5", "K.h5"), ("diagonal-E.h5", "diagonal.h5")):
        must(folder, "spectrum", "--kernel", kernel_file, "--vectors", "-o", name)
    for name, reduce in (("F.h5", "none"), ("P.h5", "pseudo")):
        must(folder, "features", *network, "--dim", "20", "--reduce", reduce, "-o", name)
    must(folder, "solve", "--features", "F.h5", "--ridge", "1e-3,1e-2", "-o", "fit.h5")
    must(folder, "forward", *network, "-o", "forward.h5")
    must(folder, "linearize", *network, "--solution", "S.h5", "--test-inputs", "D.h5",
         "--test-range", f"{N}:{N + M}", "-o", "linearized.h5")


# ---- what the files hold -------------------------------------------------------------------------


def check_info(folder, name, kind):
    ranks = TWO if name == "S.h5" else 1
    told = json.loads(must(folder, "info", name, "--json", ranks=ranks).out)
    words = must(folder, "info", name).out
    expect(told["kind"] == kind and told["path"] == name, str(told))
    expect(words.split()[:2] == [kind, name], words)
    with h5py.File(at(folder, name), "r") as file:
        numbers = {k: d for k, d in file.items()
                   if isinstance(d, h5py.Dataset) and d.dtype.kind != "S"}
        expect(told["sets"].keys() == numbers.keys(), f"{told['sets'].keys()}")
        for key, data in numbers.items():
            found = told["sets"][key]
            expect(tuple(found["shape"]) == data.shape, f"{key}: {found}")
            expect(f"{key} " in words, f"{key} is not in the words")
            if "values" in found:
                due = data[()].ravel()
                same = [v == d if np.isfinite(d) else v is None for v, d in zip(found["values"], due)]
                expect(all(same) and len(same) == due.size, f"{key}: {found}")
    if kind == "features":
        expect(told["complete"] and told["tiles"] == told["done"] > 0, str(told))
    if name == "S.h5":
        expect(told["provenance"]["format"] == "scantk-solution 1", str(told["provenance"]))
        expect("ridge                [2] f64: 0.001, 0.01" in words, words)


def check_plot(folder, name):
    """NXdata: the signal is there, and each of its axes, of its length."""
    with h5py.File(at(folder, name), "r") as file:
        expect(file.attrs["NX_class"] == b"NXdata", name)
        signal = file[file.attrs["signal"].decode()]
        axes = np.atleast_1d(file.attrs["axes"])
        expect(len(axes) == signal.ndim, f"{name}: {axes} of {signal}")
        for length, axis in zip(signal.shape, axes):
            expect(axis == b"." or file[axis.decode()].shape == (length,), f"{name}: {axis}")
        return [axis.decode() for axis in axes]


def check_plots(folder):
    for name in FILES:
        if name != "forward.h5":
            check_plot(folder, name)
    for name, due in (("S.h5", ["ridge", "sample", "output"]), ("F.h5", ["sample", "output", "."]),
                      ("time.h5", ["time", "ridge", "sample", "output"]),
                      ("P.h5", ["sample", "."])):
        found = check_plot(folder, name)
        expect(found == due, f"{name}: {found}")
    expect(list(read(at(folder, "S.h5"), "output")) == list(range(O)), "not the outputs' numbers")


# ---- damaged files ----------------------------------------------------------------------------------


def changed(folder, name, output, change):
    shutil.copy(at(folder, name), at(folder, output))
    with h5py.File(at(folder, output), "r+") as file:
        change(file)
    return run(folder, "info", output, "--json")


def put(name, values):
    def change(file):
        file.pop(name, None)
        file[name] = values
    return change


def check_several(folder):
    """Many texts and numbers where there is to be one."""
    texts = np.array([b"x" * 300] * 500)
    ended = changed(folder, "S.h5", "texts.h5", put("provenance", texts))
    expect(ended.code == 1 and len(ended.err) == 1 and
           "provenance is not one text of fixed length" in ended.err[0], str(ended))
    ended = changed(folder, "S.h5", "formats.h5", lambda file: file.attrs.create(
        "format", np.array([b"scantk-solution 1"] * 500)))
    expect(ended.code == 1 and len(ended.err) == 1 and "formats.h5" in ended.err[0], str(ended))
    ended = changed(folder, "F.h5", "numbers.h5", lambda file: file.attrs.create(
        "complete", np.ones(500, np.uint8)))
    expect(ended.code == 0 and "complete" not in json.loads(ended.out), str(ended))


def check_scalars(folder):
    told = json.loads(changed(folder, "S.h5", "scalar.h5", put("scale", 2.5)).out)["sets"]
    expect(told["scale"] == {"shape": [], "type": "f64", "values": [2.5]}, str(told["scale"]))
    told = json.loads(changed(folder, "S.h5", "empty.h5", put("scale", h5py.Empty("f8"))).out)
    expect(told["sets"]["scale"] == {"shape": [0], "type": "f64", "values": []}, str(told))
    told = json.loads(changed(folder, "F.h5", "tile.h5", put("tiles/done", np.uint8(1))).out)
    expect(told["tiles"] == told["done"] == 1, str(told))


# ---- kernels of groups ---------------------------------------------------------------------------


def matrix(path, name):
    values = read(path, name)
    return values.reshape(values.shape[0] * O, -1)


def check_solve_group(folder, ranks):
    """Against numpy, with predictions of other samples."""
    output = f"head-{ranks}.h5"
    must(folder, "solve", "--kernel", "K.h5", "--test-kernel", "T.h5", "--group", "head", "--ridge",
         "1e-3", "--quiet", "-o", output, ranks=ranks)
    K, T = (matrix(at(folder, name), "groups/head/kernel") for name in ("K.h5", "T.h5"))
    labels = read(at(folder, "K.h5"), "labels1")
    start, test_start = (read(at(folder, name), "outputs1") for name in ("K.h5", "T.h5"))
    y = (np.eye(O)[labels] - 1 / O - start).ravel()
    ridge = 1e-3 * np.trace(K) / len(K)
    alpha = np.linalg.solve(K + ridge * np.eye(len(K)), y)
    for name, due in (("alpha", alpha), ("train_predictions", start.ravel() + K @ alpha),
                      ("test_predictions", test_start.ravel() + T @ alpha)):
        found = read(at(folder, output), name).ravel()
        error = np.abs(found - due).max() / np.abs(due).max()
        expect(error < 1e-9, f"{name}: off by {error:.1e}")
    ended = run(folder, "linearize", "--model", "m.onnx", "--inputs", "D.h5", "--range", f"0:{N}",
                "--solution", output, "--test-inputs", "D.h5", "-o", "never.h5", ranks=ranks)
    expect(ended.code == 2 and len(ended.err) == 1 and "group head" in ended.err[0], str(ended))


def check_group_told(folder):
    words = must(folder, "spectrum", "--kernel", "K.h5", "--group", "head", "-o", "head-E.h5").out
    told = json.loads(must(folder, "info", "head-E.h5", "--json").out)["summary"]
    expect("kernel      K.h5, group head: " in words and told["group"] == "head", words)
    found = read(at(folder, "head-E.h5"), "eigenvalues")
    due = np.linalg.eigvalsh(matrix(at(folder, "K.h5"), "groups/head/kernel"))[::-1]
    expect(np.abs(found - due).max() < 1e-12 * due[0], "eigenvalues of a group")
    told = json.loads(must(folder, "compare", "K.h5", "K.h5", "--group", "head", "--json").out)
    expect(told["group"] == "head" and told["frobenius"] == 0, str(told))


def check_refused(folder):
    kernel(folder, "other.h5", "--group", "head=head.bias")
    kernel(folder, "none.h5")
    for words, text, code in (
            (["--kernel", "K.h5", "--group", "tail"], "no kernel of a group tail", 1),
            (["--kernel", "none.h5", "--group", "head"], "no kernel of a group head", 1),
            (["--kernel", "other.h5", "--test-kernel", "T.h5", "--group", "head"],
             "group head=head* there, head=head.bias in the kernel", 2)):
        ended = run(folder, "solve", *words, "--quiet", "-o", "never.h5", ranks=TWO)
        expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))


def check_verify(folder):
    """Entries of each group's kernel are computed again; a wrong one is told with its group."""
    words = ["--model", "m.onnx", "--inputs", "D.h5"]
    told = json.loads(must(folder, "verify", "K.h5", *words, "--json", ranks=TWO).out)
    for name in ("entries", "entries of head", "entries of rest"):
        found = told[name]
        expect(found["compared"] == (N * O)**2 and found["difference"] < 1e-12, f"{name}: {found}")
    shutil.copy(at(folder, "K.h5"), at(folder, "wrong.h5"))
    with h5py.File(at(folder, "wrong.h5"), "r+") as file:
        file["groups/rest/kernel"][...] *= 1 + 1e-8
    ended = run(folder, "verify", "wrong.h5", *words)
    expect(ended.code == 1 and "entries     group rest, WRONG" in ended.out and
           "entries     group head, right" in ended.out, str(ended))


def check_verify_one(folder):
    words = ["K.h5", "--model", "m.onnx", "--inputs", "D.h5", "--group", "rest", "--json"]
    told = json.loads(must(folder, "verify", *words, ranks=TWO).out)
    expect([k["group"] for k in told["kernels"]] == ["rest"] and told["good"] and
           "entries of rest" in told and "entries" not in told, str(told))
    ended = run(folder, "verify", "K.h5", "--group", "tail", ranks=TWO)
    expect(ended.code == 1 and "no kernel of a group tail" in ended.err[0], str(ended))


def check_verify_cotangents(folder):
    values = np.random.default_rng(8)
    C = values.normal(size=(2, O))
    each = values.normal(size=(N + M, 2, O))
    write_data(at(folder, "C.h5"), cotangents=C, other=C + 1, each=each, changed=each + 1,
               range=each[:N], few=each[:N - 1])
    kernel(folder, "of-C.h5", "--cotangents", "C.h5")
    kernel(folder, "each.h5", "--cotangents", "C.h5:/range")
    words = ["--model", "m.onnx", "--inputs", "D.h5"]
    told = json.loads(must(folder, "verify", "of-C.h5", *words, "--cotangents", "C.h5", "--json",
                           ranks=TWO).out)["entries"]
    expect(told["compared"] == (2 * N)**2 and told["difference"] < 1e-12, str(told))
    for name, more, text in (
            ("of-C.h5", [], "was made with --cotangents: give them"),
            ("of-C.h5", ["--cotangents", "C.h5:/other"], "is not of these cotangents: values"),
            ("K.h5", ["--cotangents", "C.h5"], "was made without --cotangents"),
            ("each.h5", [], "was made with --cotangents: give them"),
            ("each.h5", ["--cotangents", "C.h5:/few"], "cotangents of 16 samples"),
            ("each.h5", ["--cotangents", "C.h5:/changed"], "is not of these cotangents: values"),
            ("each.h5", ["--cotangents", "C.h5:/range", "--cotangents2", "C.h5:/range"],
             "was made without --cotangents2")):
        ended = run(folder, "verify", name, *words, *more, ranks=TWO)
        expect(ended.code in (1, 2) and len(ended.err) == 1 and text in ended.err[0], str(ended))


def check_verify_each(folder):
    """Cotangents of each sample: those of the samples that are picked, on both sides."""
    values = np.random.default_rng(9)
    write_data(at(folder, "each-C.h5"), cotangents=values.normal(size=(N + M, 2, O)),
               other=values.normal(size=(N + M, 2, O)), alike=values.normal(size=(2, O)))
    words = ["--model", "m.onnx", "--inputs", "D.h5"]
    for name, sides, count, reduce in (
            ("own", ["--cotangents", "each-C.h5"], 5, "none"),
            ("pseudo", ["--cotangents", "each-C.h5"], 9, "pseudo"),
            ("both", ["--cotangents", "each-C.h5", "--cotangents2", "each-C.h5:/other"], 7, "none"),
            ("mixed", ["--cotangents", "each-C.h5", "--cotangents2", "each-C.h5:/alike"], 6,
             "diagonal")):
        output = f"each-{name}.h5"
        must(folder, "kernel", *words, "--range", "3:19", *KERNEL, "--reduce", reduce, *sides,
             *(["--range2", "1:13"] if len(sides) > 2 else []), "-o", output)
        told = json.loads(must(folder, "verify", output, *words, *sides, "--samples", str(count),
                               "--json", ranks=TWO).out)["entries"]
        of_pair = {"none": 4, "diagonal": 2}.get(reduce, 1)
        expect(told["compared"] == of_pair * count**2 and told["difference"] < 1e-12,
               f"{name}: {told}")
    with h5py.File(at(folder, "each-own.h5"), "r+") as file:
        file["kernel"][...] *= 1 + 1e-8
    ended = run(folder, "verify", "each-own.h5", *words, "--cotangents", "each-C.h5", ranks=TWO)
    expect(ended.code == 1 and "entries     WRONG" in ended.out, str(ended))


def cases(folder):
    make(folder)
    for name, kind in FILES.items():
        yield f"info {name}", lambda n=name, k=kind: check_info(folder, n, k)
    yield "plots", lambda: check_plots(folder)
    yield "several", lambda: check_several(folder)
    yield "scalars", lambda: check_scalars(folder)
    yield "solve", lambda: check_solve_group(folder, 1)
    yield f"solve {TWO}", lambda: check_solve_group(folder, TWO)
    yield "group told", lambda: check_group_told(folder)
    yield "refused", lambda: check_refused(folder)
    yield "verify", lambda: check_verify(folder)
    yield "verify one", lambda: check_verify_one(folder)
    yield "cotangents", lambda: check_verify_cotangents(folder)
    yield "cotangents of each sample", lambda: check_verify_each(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
