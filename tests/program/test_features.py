#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
"""features and solve --features: random projections of gradients, and ridge regression on them.

The projection is made here anew (Philox as published, in numpy). With more rows than parameters it
can be undone: the Jacobians found are compared with the kernels that functorch made
(tests/golden/references.h5), and with differences of the outputs, which also tells the numbering of
the parameters."""
import json
import os
import re
import shutil
import signal
import struct
import sys
import time

os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"  # the test looks into files that are written
from program import (HERE, MAX_RANKS, Started, XXH3, expect, h5py, must, np, read, run, run_cases,
                     values_of, write_data)

GOLDEN = os.path.join(HERE, "../golden")
REFERENCES = os.path.join(GOLDEN, "references.h5")
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
SAMPLES = 600  # several blocks
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


# ---- the projection ------------------------------------------------------------------------------


def multiply(a, b):
    """High and low words of products of uint64 by a constant."""
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    b0, b1 = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    a0, a1 = a & low, a >> high
    middle = a1 * b0 + ((a0 * b0) >> high)
    rest = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> high) + (rest >> high), a * np.uint64(b)


def philox(seed, domain, stream, index):
    """Philox4x64-10 (Salmon et al. 2011) of arrays of streams and indices: [..., 4]."""
    c = [index, stream, np.full_like(index, domain), np.zeros_like(index)]
    key = [seed, 0x5CA47C]
    for _ in range(10):
        high0, low0 = multiply(c[0], MULTIPLIERS[0])
        high1, low1 = multiply(c[2], MULTIPLIERS[1])
        c = [high1 ^ c[1] ^ np.uint64(key[0]), low1, high0 ^ c[3] ^ np.uint64(key[1]), low0]
        key = [(k + w) % 2**64 for k, w in zip(key, WEYL)]
    return np.stack(c, -1)


def draws(seed, domain, streams, parameters):
    index, stream = np.meshgrid(np.arange(parameters, dtype=np.uint64),
                                np.arange(streams, dtype=np.uint64), indexing="ij")
    return philox(seed, domain, stream, index).reshape(parameters, -1)


def projection(kind, seed, dim, parameters):
    """R [dim, P]"""
    if kind == "rademacher":
        words = draws(seed, 1, -(-dim // 256), parameters)
        bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        return 1 - 2.0 * bits[:, :dim].T
    words = draws(seed, 2, -(-dim // 8), parameters)
    u = ((words & np.uint64(0xFFFFFFFF)) + 0.5) / 2**32
    v = ((words >> np.uint64(32)) + 0.5) / 2**32
    pairs = np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * (v - 0.125))
    return np.stack([pairs.real, pairs.imag], -1).reshape(parameters, -1)[:, :dim].T


def error_of(found, expected):
    expect(found.shape == expected.shape, f"shape {found.shape} for {expected.shape}")
    return np.abs(found - expected).max() / np.abs(expected).max()


def features(folder, output, *words, ranks=1):
    must(folder, "features", "--output", output, *words, ranks=ranks)
    return os.path.join(folder, output)


def parameters_of(folder, model):
    return json.loads(must(folder, "info", model, "--json").out)["parameters"]


def undo(path, kind, seed, parameters):
    """The Jacobians [N, O, P] of which there are features."""
    phi = read(path, "features")
    dim = phi.shape[-1]
    matrix = projection(kind, seed, dim, parameters) / np.sqrt(dim)
    rows = phi.reshape(-1, dim)
    jacobian, _, rank, _ = np.linalg.lstsq(matrix, rows.T, rcond=None)
    expect(rank == parameters, f"rank {rank} of {parameters}")
    expect(error_of(matrix @ jacobian, rows.T) < 1e-11, "not in the range of the projection")
    return jacobian.T.reshape(*phi.shape[:-1], parameters)


# ---- values --------------------------------------------------------------------------------------


def check_network(folder, network, kind, *words):
    """Through X or through J, as the program chooses, whatever the operators."""
    model, inputs = os.path.join(GOLDEN, network + ".onnx"), f"{REFERENCES}:/{network}/inputs"
    count = parameters_of(folder, model)
    path = features(folder, network + kind + "".join(words) + ".h5", "--model", model, "--inputs",
                    inputs, "--dim", str(count + count // 4 + 70), "--seed", "7", "--kind", kind,
                    "--dtype", "f64", *words)
    with h5py.File(REFERENCES, "r") as file:
        kernel, outputs = file[network]["kernel"][()], file[network]["outputs"][()]
    jacobian = undo(path, kind, 7, count)
    if "pseudo" in words:
        expected = kernel.sum((1, 3)) / kernel.shape[1]
        found = jacobian @ jacobian.T
    elif "--select-outputs" in words:
        expected = kernel[:, [2, 0]][:, :, :, [2, 0]]
        found = np.einsum("nop,mqp->nomq", jacobian, jacobian)
        expect(list(read(path, "output")) == [2, 0], "not the outputs' numbers")
    else:
        expected, found = kernel, np.einsum("nop,mqp->nomq", jacobian, jacobian)
    error = error_of(found, expected)
    expect(error < 1e-9, f"{network}: off by {error:.1e}")
    expect(error_of(read(path, "outputs"), outputs) < 1e-9, "not the outputs")


def check_tokens(folder):
    """Of a table only the rows that are looked up, against the dense Jacobian."""
    must(folder, "model", "gpt", "--input", "5", "--vocabulary", "11", "--width", "8", "--heads",
         "2", "--depth", "1", "--output", "gpt.onnx")
    write_data(os.path.join(folder, "tokens.h5"),
               inputs=np.random.default_rng(4).integers(0, 11, (3, 5)))
    words = ["--model", "gpt.onnx", "--inputs", "tokens.h5", "--dtype", "f64"]
    must(folder, "kernel", *words, "--algorithm", "jacobian", "--output", "gpt-k.h5", "--quiet")
    count = parameters_of(folder, "gpt.onnx")
    path = features(folder, "gpt-f.h5", *words, "--dim", str(2 * count), "--seed", "7")
    jacobian = undo(path, "rademacher", 7, count)
    error = error_of(np.einsum("nop,mqp->nomq", jacobian, jacobian),
                     read(os.path.join(folder, "gpt-k.h5"), "kernel"))
    expect(error < 1e-9, f"off by {error:.1e}")


def changed(model, name, element, step):
    """The model with one f32 more, and by how much."""
    first, _ = values_of(model, name)
    at = first + 4 * element
    old = struct.unpack_from("<f", model, at)[0]
    new = struct.unpack("<f", struct.pack("<f", old + step))[0]
    return model[:at] + struct.pack("<f", new) + model[at + 4:], new - old


def check_numbering(folder):
    """Parameters are counted through the tensors that are not frozen, in the model's order."""
    must(folder, "model", "fcn", "--input", "6", "--width", "20", "--depth", "2", "--outputs", "3",
         "--activation", "tanh", "--output", "order.onnx")
    write_data(os.path.join(folder, "order.h5"),
               inputs=np.random.default_rng(1).normal(size=(5, 6)))
    with open(os.path.join(folder, "order.onnx"), "rb") as file:
        model = file.read()
    info = must(folder, "info", "order.onnx").out
    words = ["--model", "order.onnx", "--inputs", "order.h5", "--dtype", "f64"]
    path = features(folder, "order-f.h5", *words, "--dim", "900", "--seed", "3")
    names = json.loads(read(path, "provenance"))["parameters"]
    sizes = [(values_of(model, n)[1] - values_of(model, n)[0]) // 4 for n in names]
    jacobian = undo(path, "rademacher", 3, sum(sizes))
    frozen = features(folder, "order-g.h5", *words, "--dim", "900", "--seed", "3", "--freeze",
                      names[1])
    rest = undo(frozen, "rademacher", 3, sum(sizes) - sizes[1])
    kept = np.delete(jacobian, np.s_[sizes[0]:sizes[0] + sizes[1]], -1)
    expect(error_of(rest, kept) < 1e-8, f"--freeze numbers otherwise\n{info}")
    for k, name in enumerate(names):
        element = sizes[k] - 2
        ends = []
        for sign, step in (("+", 1e-3), ("-", -1e-3)):
            other, h = changed(model, name, element, step)
            with open(os.path.join(folder, "other.onnx"), "wb") as file:
                file.write(other)
            must(folder, "forward", "--model", "other.onnx", "--inputs", "order.h5", "--dtype",
                 "f64", "--output", f"other{k}{sign}.h5")
            ends.append((read(os.path.join(folder, f"other{k}{sign}.h5"), "outputs"), h))
        slope = (ends[0][0] - ends[1][0]) / (ends[0][1] - ends[1][1])
        error = np.abs(jacobian[:, :, sum(sizes[:k]) + element] - slope).max()
        expect(error < 1e-5, f"{name}: the derivative is off by {error:.1e}")


def make_data(folder):
    random = np.random.default_rng(2)
    for name, family, options, shape in (
            ("fcn", "fcn", ["--input", "20", "--width", "64", "--outputs", "4"], (20,)),
            ("cnn", "cnn", ["--input", "2x8x8", "--width", "6", "--outputs", "4"], (2, 8, 8))):
        must(folder, "model", family, *options, "--output", name + ".onnx")
        inputs = random.normal(size=(SAMPLES, *shape))
        write_data(os.path.join(folder, name + ".h5"), inputs=inputs,
                   labels=random.integers(0, 4, SAMPLES))
        write_data(os.path.join(folder, name + "-shifted.h5"), inputs=inputs + 1)
        inputs[SAMPLES // 2] = np.nan
        write_data(os.path.join(folder, name + "-nan.h5"), inputs=inputs)


def check_ranks(folder, name, dtype):
    """The same bytes on any number of ranks."""
    common = ["--model", name + ".onnx", "--inputs", name + ".h5", "--dim", "300", "--dtype"]
    words = [*common, dtype]
    first = read(features(folder, f"{name}-{dtype}-1.h5", *words), "features")
    expect(first.shape == (SAMPLES, 4, 300), f"shape {first.shape}")
    expect(first.dtype == {"f32": np.float32, "f64": np.float64}[dtype], f"type {first.dtype}")
    for ranks in range(2, min(3, MAX_RANKS) + 1):
        path = features(folder, f"{name}-{dtype}-{ranks}.h5", *words, ranks=ranks)
        expect(read(path, "features").tobytes() == first.tobytes(), f"{ranks} ranks: other bytes")
    part = features(folder, f"{name}-{dtype}-range.h5", *common, "f64", "--range", "40:61")
    expect(error_of(read(part, "features"), first[40:61]) < (1e-12 if dtype == "f64" else 1e-5),
           "a range has other features")
    expect(list(read(part, "sample")) == list(range(40, 61)), "not the samples' numbers")


def check_error(folder):
    """phi phi^T is the kernel to about sqrt(2 / dim)."""
    must(folder, "kernel", "--model", "cnn.onnx", "--inputs", "cnn.h5", "--dtype", "f64", "--range",
         "0:40", "--output", "cnn-k.h5", "--quiet")
    kernel = read(os.path.join(folder, "cnn-k.h5"), "kernel").reshape(160, 160)
    scale = np.sqrt(np.outer(kernel.diagonal(), kernel.diagonal()) + kernel**2)
    for kind in ("rademacher", "gaussian"):
        for dim in (128, 4096):
            path = features(folder, f"cnn-{kind}-{dim}.h5", "--model", "cnn.onnx", "--inputs",
                            "cnn.h5", "--range", "0:40", "--dim", str(dim), "--kind", kind,
                            "--seed", "5")
            phi = read(path, "features").reshape(160, dim).astype(float)
            error = np.sqrt(np.mean(((phi @ phi.T - kernel) / scale)**2) * dim)
            expect(0.6 < error < 1.5, f"{kind}: {error:.2f} of the error that is expected")


# ---- regression ----------------------------------------------------------------------------------


def expected_fit(phi, outputs, labels, ridge, test_phi, test_outputs):
    """The primal by numpy: predictions of both sets."""
    O = outputs.shape[1]
    targets = np.eye(O)[labels] - 1 / O - outputs
    pseudo = phi.ndim == 2
    rows = phi if pseudo else phi.reshape(-1, phi.shape[-1])
    moment = rows.T @ (targets if pseudo else targets.reshape(-1))
    gram = rows.T @ rows
    gram += ridge * np.trace(gram) / len(rows) * np.eye(len(gram))
    weights = np.linalg.solve(gram, moment)
    return weights, outputs + phi @ weights, test_outputs + test_phi @ weights


def check_solve(folder, reduce, ranks):
    name = f"solve-{reduce}-{ranks}"
    words = ["--model", "fcn.onnx", "--dim", "200", "--seed", "9", "--dtype", "f64", "--reduce",
             reduce]
    train = features(folder, name + "-f.h5", "--inputs", "fcn.h5", "--range", "0:110", *words)
    test = features(folder, name + "-g.h5", "--inputs", "fcn.h5", "--range", "110:150", *words)
    out = must(folder, "solve", "--features", name + "-f.h5", "--test-features",
               name + "-g.h5", "--test-labels", "fcn.h5", "--ridge", "1e-3,0.1", "--output",
               name + "-s.h5", ranks=ranks).out
    lines = [line for line in out.splitlines() if line.startswith("ridge")]
    expect(len(lines) == 2, f"two lines for two ridges: {out!r}")
    with h5py.File(os.path.join(folder, name + "-s.h5"), "r") as file:
        found = {k: file[k][()] for k in file}
    labels = read(os.path.join(folder, "fcn.h5"), "labels")
    for r, ridge in enumerate((1e-3, 0.1)):
        weights, *predictions = expected_fit(
            read(train, "features"), read(train, "outputs"), labels[:110], ridge,
            read(test, "features"), read(test, "outputs"))
        expect(error_of(found["weights"][r].reshape(weights.shape), weights) < 1e-8, "weights")
        for i, (side, part) in enumerate((("train", labels[:110]), ("test", labels[110:150]))):
            expect(error_of(found[side + "_predictions"][r], predictions[i]) < 1e-9, side)
            mse = np.mean((predictions[i] - np.eye(4)[part] + 1 / 4)**2)
            accuracy = np.mean(predictions[i].argmax(1) == part)
            expect(abs(found["mse"][r, i] / mse - 1) < 1e-9, "MSE")
            expect(abs(found["accuracy"][r, i] - accuracy) < 1e-9, "accuracy")
            expect(f"{side} MSE {mse:.6g} accuracy {accuracy:.6g}" in lines[r], lines[r])


def check_selected(folder):
    """Labels are of the outputs by their own numbers, whatever their order in the features."""
    words = ["--model", "fcn.onnx", "--inputs", "fcn.h5", "--range", "0:80", "--dim", "200",
             "--dtype", "f64"]
    chosen = [3, 0]
    path = features(folder, "chosen.h5", *words, "--select-outputs", "3,0")
    out = must(folder, "solve", "--features", "chosen.h5", "--ridge", "0.1", "--output",
               "chosen-s.h5").out
    labels = read(path, "labels")
    phi, start = read(path, "features"), read(path, "outputs")[:, chosen]
    y = (labels[:, None] == chosen) - 1 / 2
    gram = phi.reshape(-1, 200).T @ phi.reshape(-1, 200)
    gram += 0.1 * np.trace(gram) / 160 * np.eye(200)
    weights = np.linalg.solve(gram, phi.reshape(-1, 200).T @ (y - start).ravel())
    due = start + phi @ weights
    found = read(os.path.join(folder, "chosen-s.h5"), "train_predictions")[0]
    expect(error_of(found, due) < 1e-9, "predictions of selected outputs")
    accuracy = np.mean(np.array(chosen)[due.argmax(1)] == labels)
    expect(f"accuracy {accuracy:.6g}" in out, f"{accuracy}: {out}")


# ---- stopping and going on -----------------------------------------------------------------------

LONG = ["--model", "cnn.onnx", "--inputs", "cnn.h5", "--kind", "gaussian"]
GAPS = {"f32": ["--dim", "257"], "parts": ["--range", "0:3", "--dim", "300000"],
        "pseudo": ["--reduce", "pseudo", "--dtype", "f64", "--dim", "257"]}


def tiles_of(path):
    """Marks and checksums, [blocks, parts], and the bytes of each tile."""
    with h5py.File(path, "r") as file:
        values, block, part = file["features"][()], file.attrs["block"], file.attrs["part"]
        done, checksums = file["tiles/done"][()], file["tiles/checksum"][()]
    if values.ndim == 2:
        values, done, checksums = values[:, None], done[:, None], checksums[:, None]
    tiles = [[np.ascontiguousarray(values[i * block:][:block, k * part:][:, :part])
              for k in range(done.shape[1])] for i in range(done.shape[0])]
    return done, checksums, tiles


def check_tiles(path):
    done, checksums, tiles = tiles_of(path)
    for at in map(tuple, np.argwhere(done)) if XXH3 else ():
        content = tiles[at[0]][at[1]].tobytes()
        expect(checksums[at] == XXH3(content, len(content)), f"{path}: checksum of tile {at}")
    return done


def check_same(folder, output, whole):
    path = os.path.join(folder, output)
    for name in ("features", "outputs", "labels", "sample"):
        expect(read(path, name).tobytes() == read(whole, name).tobytes(), f"{output}: other {name}")
    expect(check_tiles(path).all(), f"{output}: tiles are missing")
    with h5py.File(path, "r") as file:
        expect(file.attrs["complete"] == 1, f"{output}: not complete")
    expect(not os.path.exists(path + ".part"), f"{output}.part is left")


def make_part(folder, whole, output):
    """An unfinished file without stopping anything: as a kill leaves it."""
    path = os.path.join(folder, output + ".part")
    shutil.copy(whole, path)
    with h5py.File(path, "r+") as file:
        done = file["tiles/done"]
        marks = done[()]
        marks.flat[1::3] = 0
        done[...] = marks
        block, part = file.attrs["block"], file.attrs["part"]
        if done.shape[1:] > (1,):
            file["features"][:block, part:2 * part] = -1
        else:
            file["features"][block:2 * block] = -1
        file["outputs"][...] = 7
        file["labels"][...] = 0
        file.attrs["complete"] = np.uint8(0)


def check_resume(folder, gap, ranks):
    """Stopped at once by the file, then gone on with, on other ranks: the same bytes."""
    words, ranks = [*LONG, *GAPS[gap]], min(ranks, MAX_RANKS)
    least = []  # memory, in which a tile is not all outputs of one sample
    if gap == "parts":
        asked = run(folder, "features", *words, "--memory", "1M", "--output", "never.h5").err[-1]
        mib = int(re.search(r"use --memory (\d+)M", asked)[1])
        least = ["--memory", f"{mib + 1}M"]  # what MPI takes differs from run to run
    whole = features(folder, f"whole-{gap}.h5", *words, *least)
    tiles = check_tiles(whole)
    expect(tiles.shape[0] == 3 and tiles.shape[1] > 1 if least else tiles.size > 3,
           f"tiles {tiles.shape}")
    output = f"gone-on-{gap}.h5"
    make_part(folder, whole, output)
    with open(os.path.join(folder, output + ".stop"), "w", encoding="utf-8"):
        pass
    words += ["--output", output, "--resume"]
    stopped = run(folder, "features", *words, "--quiet", ranks=ranks)
    expect(stopped.code == 75 and re.fullmatch(
        r"scantk: stopped \(OUTPUT.stop\) at \d+ of \d+ tiles; continue with: .* features .*"
        "--resume.*", stopped.err[-1]), str(stopped))
    expect(not os.path.exists(os.path.join(folder, output + ".stop")), "OUTPUT.stop is still there")
    must(folder, "features", *words, "--quiet", ranks=min(4 - ranks, MAX_RANKS))
    check_same(folder, output, whole)
    again = must(folder, "features", *words, ranks=ranks)
    expect("nothing is left to do" in " ".join(again.err), str(again))
    with h5py.File(os.path.join(folder, output), "r+") as file:
        file["features"][-1, -1] += 1
    ended = must(folder, "features", *words, "--quiet", ranks=ranks)
    if XXH3:
        expect("1 tiles that were marked as done are not" in ended.err[0], str(ended))
    check_same(folder, output, whole)


def changed_at(path):
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def check_signal(folder, ranks):
    """Stopped in the midst of its blocks; a second signal drops those."""
    whole = features(folder, f"signal-whole-{ranks}.h5", *LONG, "--dim", "3000", ranks=ranks)
    output = f"signal-{ranks}.h5"
    words = ["features", *LONG, "--dim", "3000", "--output", output, "--quiet"]
    for number, signals in enumerate(((signal.SIGUSR1,), (signal.SIGUSR1, signal.SIGUSR2))):
        before = changed_at(os.path.join(folder, output + ".part"))
        started = Started(folder, *words, *["--resume"] * number, ranks=ranks)
        deadline = time.monotonic() + 60
        while changed_at(os.path.join(folder, output + ".part")) == before:
            expect(time.monotonic() < deadline and started.process.poll() is None, "does not start")
            time.sleep(0.005)
        time.sleep(0.1)
        for each in signals:
            started.send(each)
        ended = started.end(60)
        expect(ended.code == 75 and re.search(r"stopped \(USR[12]\) at ", ended.err[-1]), str(ended))
        if not os.path.exists(os.path.join(folder, output + ".part")):
            expect(" at 0 of " in ended.err[-1], f"nothing is left: {ended}")
            continue
        done = check_tiles(os.path.join(folder, output + ".part"))
        expect(f" at {done.sum()} of {done.size} tiles" in ended.err[-1], str(ended))
        told = json.loads(must(folder, "info", output, "--json").out)
        expect((told["complete"], told["done"]) == (False, done.sum()), str(told))
    must(folder, *words, "--resume", ranks=ranks)
    check_same(folder, output, whole)


def check_resume_refused(folder):
    base = ["--model", "fcn.onnx", "--inputs", "fcn.h5", "--dim", "40", "--range", "0:60"]
    whole = features(folder, "kept.h5", *base)
    make_part(folder, whole, "kept-too.h5")
    for number, (words, name) in enumerate((
            (["--model", "cnn.onnx", "--inputs", "cnn.h5"], "model: "), (["--dim", "41"], "dim: "),
            (["--seed", "2"], "seed: "), (["--kind", "gaussian"], "kind: "),
            (["--range", "0:59"], "range: "), (["--dtype", "f64"], "dtype: "),
            (["--reduce", "pseudo"], "reduction: "), (["--select-outputs", "0:3"], "outputs: "),
            (["--inputs", "fcn-shifted.h5"], "samples: "))):
        given = dict(zip(base[::2], base[1::2])) | dict(zip(words[::2], words[1::2]))
        words = [word for pair in given.items() for word in pair]
        output, ranks = ("kept.h5", 1) if number % 2 else ("kept-too.h5", min(2, MAX_RANKS))
        ended = run(folder, "features", *words, "--output", output, "--resume", ranks=ranks)
        expect(ended.code == 2 and f"{output} cannot be resumed: {name}" in ended.err[-1],
               f"'{name}' is not named: {ended}")
    ended = run(folder, "features", *base, "--output", "kept-too.h5")
    expect(ended.code == 1 and "continue it with --resume" in ended.err[-1], str(ended))
    ended = run(folder, "features", *base, "--output", "fcn.h5", "--resume")
    expect(ended.code == 1 and "fcn.h5 cannot be resumed: these are no features" in ended.err[-1],
           str(ended))
    ended = run(folder, "features", *base, "--output", "never.h5", "--max-time", "soon")
    expect(ended.code == 2 and "--max-time" in ended.err[-1], str(ended))
    must(folder, "features", *base, "--output", "afresh.h5", "--resume")
    expect(read(os.path.join(folder, "afresh.h5"), "features").tobytes() ==
           read(whole, "features").tobytes(), "afresh: other bytes")


# ---- refusals ------------------------------------------------------------------------------------


def refused(folder, code, text, *words, ranks=1):
    ended = run(folder, *words, ranks=ranks)
    told = [line for line in ended.err if line.startswith("scantk: error:")]
    expect(ended.code == code and len(told) == 1 and text in told[0], f"not '{text}': {ended}")
    expect(not [f for f in os.listdir(folder) if f.startswith("refused")], "a file is left")


def check_refused(folder):
    words = ["features", "--model", "fcn.onnx", "--inputs", "fcn.h5", "--output", "refused.h5"]
    two = min(2, MAX_RANKS)
    refused(folder, 2, "--dim is missing", *words)
    refused(folder, 2, "--select-outputs", *words, "--dim", "8", "--select-outputs", "4", ranks=two)
    refused(folder, 1, "--memory", *words, "--dim", "8", "--memory", "8M", ranks=two)
    refused(folder, 1, "No such file", *words[:3], "--inputs", "absent.h5", *words[5:], "--dim",
            "8")
    refused(folder, 1, "exists", *words[:-1], "fcn.h5", "--dim", "8")
    refused(folder, 3, f"sample {SAMPLES // 2} ", *words[:3], "--inputs", "fcn-nan.h5", *words[5:],
            "--dim", "8", ranks=two)
    base = ["--model", "fcn.onnx", "--inputs", "fcn.h5", "--dim", "40"]
    features(folder, "bad-a.h5", *base)
    features(folder, "bad-b.h5", *base, "--seed", "1")
    solve = ["solve", "--features", "bad-a.h5", "--output", "refused.h5"]
    refused(folder, 2, "seed: 1 there, seed: 0 here", *solve, "--test-features", "bad-b.h5",
            ranks=two)
    refused(folder, 2, "--ridge", *solve, "--ridge", "1e-3,x")
    refused(folder, 1, "/identity", "solve", "--features", "fcn.h5", "--output",
            "refused.h5")


def check_cotangents(folder):
    """Features of C f, one C for each sample."""
    random = np.random.default_rng(8)
    c = random.normal(size=(SAMPLES, 2, 4))
    write_data(os.path.join(folder, "C.h5"), cotangents=c)
    words = ["--model", "fcn.onnx", "--inputs", "fcn.h5", "--dim", "64", "--dtype", "f64"]
    plain = read(features(folder, "plain.h5", *words), "features")
    for reduce, wanted in (("none", c), ("pseudo", c.sum(1, keepdims=True) / np.sqrt(2))):
        path = features(folder, f"cot-{reduce}.h5", *words, "--cotangents", "C.h5", "--reduce",
                        reduce)
        expected = np.einsum("nao,nok->nak", wanted, plain)
        found = read(path, "features")
        expect(error_of(found.reshape(expected.shape), expected) < 1e-11, f"cotangents, {reduce}")


def cases(folder):
    make_data(folder)
    for network in ("fcn", "cnn", "transposed", "used_twice", "groups", "sequence", "attention",
                    "cut_weights", "weight_norm", "scaled_weight", "mixer", "ntk", "dense",
                    "convolution_used_twice"):
        yield network, lambda n=network: check_network(folder, n, "rademacher")
    yield "gaussian", lambda: check_network(folder, "fcn", "gaussian")
    yield "pseudo", lambda: check_network(folder, "cnn", "rademacher", "--reduce", "pseudo")
    yield "selected", lambda: check_network(folder, "ntk", "rademacher", "--select-outputs", "2,0")
    yield "tokens", lambda: check_tokens(folder)
    yield "numbering", lambda: check_numbering(folder)
    for name, dtype in (("fcn", "f64"), ("cnn", "f64"), ("cnn", "f32")):
        yield f"ranks {name} {dtype}", lambda n=name, d=dtype: check_ranks(folder, n, d)
    yield "error", lambda: check_error(folder)
    yield "solve", lambda: check_solve(folder, "none", 1)
    yield "solve pseudo", lambda: check_solve(folder, "pseudo", min(3, MAX_RANKS))
    yield "selected outputs", lambda: check_selected(folder)
    yield "cotangents", lambda: check_cotangents(folder)
    yield "refused", lambda: check_refused(folder)
    for gap in GAPS:
        yield f"resume {gap}", lambda g=gap: check_resume(folder, g, 1 if g == "f32" else 3)
    yield "signal", lambda: check_signal(folder, 1)
    yield "signal 3", lambda: check_signal(folder, min(3, MAX_RANKS))
    yield "resume refused", lambda: check_resume_refused(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
