#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 300
"""Eigenvalues of kernel files against numpy: all of them and a few, every reduction, several ranks,
blocks that divide nothing; what is said of them; what is refused."""
import functools
import json
import os
import shutil
import sys

from program import (MAX_RANKS, expect, h5py, must, np, read, run, run_cases, write_data)

O, N = 5, 37
OPTIONS = "kernel output count which vectors method eigensolver nb memory group json"


def at(folder, *names):
    return os.path.join(folder, *names)


def has_elpa(folder):
    line = next(l for l in must(folder, "--build-info").out.splitlines() if "eigenvalues" in l)
    expect("ScaLAPACK" in line, line)
    return "ELPA" in line


def make_inputs(folder):
    random = np.random.default_rng(11)
    must(folder, "model", "fcn", "--input", "12", "--width", "32", "--depth", "2", "--outputs",
         str(O), "--output", "fcn.onnx")
    write_data(at(folder, "data.h5"), inputs=random.normal(size=(40, 12)),
               many=random.normal(size=(600, 12)), labels=random.integers(0, O, 40))
    for name, words in (("none", []), ("trace", ["--store", "half"]), ("diagonal", []),
                        ("pseudo", [])):
        kernel(folder, name + ".h5", "--reduce", name, "--dtype", "f64", *words)
    kernel(folder, "wide.h5", "--range2", "3:9")
    must(folder, "kernel", "--model", "fcn.onnx", "--inputs", "data.h5:/many", "--reduce", "trace",
         "--store", "half", "--block", "64", "--quiet", "--output", "many.h5")
    must(folder, "export", "many.h5", "--output", "many.npy")
    must(folder, "export", "trace.h5", "--output", "trace.npy")


def kernel(folder, output, *words):
    must(folder, "kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--range", f"1:{1 + N}",
         "--block", "6x2", "--algorithm", "jacobian", "--quiet", *words, "--output", output)


def matrices_of(folder, name):
    """[matrices, n, n]"""
    if os.path.exists(at(folder, name + ".npy")):
        return np.load(at(folder, name + ".npy")).astype(float)[None]
    K = read(at(folder, name + ".h5"), "kernel").astype(float)
    return K.reshape(-1, N, N) if K.ndim < 4 else K.reshape(1, N * O, N * O)


def labels_of(folder, name, count):
    """[matrices, vectors, n]"""
    y = np.eye(O)[read(at(folder, "data.h5"), "labels")[1:1 + N]] - 1 / O
    return {"none": y.reshape(1, 1, -1), "diagonal": y.T[:, None]}.get(name, y.T[None])[:count]


def check_all(folder, name, ranks, *words):
    output = f"{name}-{ranks}-{'-'.join(words)}.h5"
    found = json.loads(must(folder, "spectrum", "--kernel", name + ".h5", "--json", "--output",
                            output, *words, ranks=min(ranks, MAX_RANKS)).out)
    Ks = matrices_of(folder, name)
    values = np.array([np.linalg.eigvalsh(K)[::-1] for K in Ks])
    if "--eigensolver" in words:
        asked = words[words.index("--eigensolver") + 1]
        expect(found["eigensolver"].lower() == asked, f"by {found['eigensolver']}, not {asked}")
    most, file = values.max(), at(folder, output)
    stored = read(file, "eigenvalues").reshape(values.shape)
    expect(abs(stored - values).max() < 1e-10 * most, f"off by {abs(stored - values).max()}")
    expect(np.allclose(np.ravel(found["eigenvalues"]), stored.ravel(), rtol=0, atol=0), "JSON")
    check_facts(folder, name, found, values)
    with h5py.File(file) as opened:
        expect(opened.attrs["signal"] == b"eigenvalues" and opened.attrs["NX_class"] == b"NXdata",
               "no NXdata")
        axes = np.atleast_1d(opened.attrs["axes"])
        expect([len(opened[a.decode()]) for a in axes] == list(opened["eigenvalues"].shape), "axes")
    if "--vectors" in words:
        check_vectors(folder, name, file, Ks, stored)


def check_facts(folder, name, found, values):
    p = values[values > 0] / values[values > 0].sum()
    norm = np.sqrt((values ** 2).sum())
    y, Ks = labels_of(folder, name, len(values)), matrices_of(folder, name)
    form = sum((v @ K * v).sum() for K, v in zip(Ks, y))
    copies = O if name in ("trace", "pseudo") else 1
    outputs = O
    expected = {"largest": values.max(), "smallest": values.min(), "trace": values.sum(),
                "effective_rank": np.exp(-(p * np.log(p)).sum()), "frobenius": norm,
                "stable_rank": norm ** 2 / values.max() ** 2,
                "alignment": form / (np.sqrt(copies) * norm * (y ** 2).sum()),
                "learning_rate_of_sum": 2 / values.max(),
                "learning_rate_of_mean": N * outputs / values.max()}
    for key, value in expected.items():
        expect(abs(found[key] - value) <= 1e-9 * max(abs(value), 1e-3 * values.max()),
               f"{key}: {found[key]}, not {value}")
    expect((found["condition"] is None) == (found["smallest"] <= 0), str(found["condition"]))


def check_vectors(folder, name, file, Ks, values):
    n, y = Ks.shape[1], labels_of(folder, name, len(Ks))
    vectors = read(file, "eigenvectors").reshape(len(Ks), -1, n)
    for K, V, w in zip(Ks, vectors, values):
        expect(abs(V @ K - w[:, None] * V).max() < 1e-10 * values.max(), "not eigenvectors")
        expect(abs(V @ V.T - np.eye(len(V))).max() < 1e-10, "not orthonormal")
    if name != "many":
        shares = ((vectors @ y.transpose(0, 2, 1)) ** 2).sum(2) / (y ** 2).sum((1, 2))[:, None]
        stored = read(file, "label_share").reshape(shares.shape)
        expect(abs(stored - shares).max() < 1e-10, "label_share")


def check_few(folder, name, which, ranks, *words):
    """Some of the eigenvalues."""
    K, output = matrices_of(folder, name)[0], f"few-{name}-{which}-{ranks}{'-'.join(words)}.h5"
    must(folder, "spectrum", "--kernel", name + ".h5", "--output", output, "--count", "6",
         "--which", which, "--vectors", *words, ranks=min(ranks, MAX_RANKS))
    values, file = np.linalg.eigvalsh(K)[::-1], at(folder, output)
    numbers = read(file, "number")
    expected = {"largest": np.arange(6), "smallest": np.arange(len(K) - 6, len(K))}
    expected["both"] = np.concatenate([expected["largest"], expected["smallest"]])
    expect((numbers == expected[which]).all(), f"numbers {numbers}")
    stored = read(file, "eigenvalues")
    expect(abs(stored - values[numbers]).max() < 1e-10 * values[0],
           f"off by {abs(stored - values[numbers]).max() / values[0]}")
    check_vectors(folder, name, file, K[None], stored[None])


def check_words(folder):
    out = must(folder, "spectrum", "--help").out
    for option in OPTIONS.split():
        expect(f"--{option} " in out, f"--help does not list --{option}")
    out = must(folder, "spectrum", "--kernel", "many.h5", "--count", "8").out
    expect("by block Lanczos" in out and "stands for K x I_O" in out and "learning rate" in out, out)
    out = must(folder, "spectrum", "--kernel", "trace.h5").out
    expect("by ScaLAPACK" in out and "condition" in out and "alignment" in out, out)


def check_refused(folder):
    for name in ("holes.h5", "nan.h5"):
        shutil.copy(at(folder, "none.h5"), at(folder, name))
    with h5py.File(at(folder, "holes.h5"), "r+") as file:
        file["tiles/done"][0, 0, 1, 1] = 0
    with h5py.File(at(folder, "nan.h5"), "r+") as file:
        file["kernel"][8, 1, 9, 0] = file["kernel"][9, 0, 8, 1] = np.nan
    for words, code, text in (
            (["--kernel", "wide.h5"], 2, "37 x 6"), (["--kernel", "holes.h5"], 1, "1 of 441 tiles"),
            (["--kernel", "nan.h5"], 3, "nan.h5"), (["--kernel", "data.h5"], 1, "data.h5"),
            (["--kernel", "nan.h5", "--count", "2", "--method", "lanczos"], 3, "tile 1,0,1,0"),
            (["--kernel", "none.h5", "--count", "999"], 2, "185 eigenvalues"),
            (["--kernel", "none.h5", "--which", "both"], 2, "--count"),
            (["--kernel", "none.h5", "--vectors"], 2, "--output"),
            (["--kernel", "none.h5", "--count", "2", "--which", "both", "--method", "lanczos"], 2,
             "lanczos"),
            (["--kernel", "many.h5", "--count", "2", "--eigensolver", "scalapack"], 2,
             "--method dense"),
            (["--kernel", "none.h5", "--eigensolver", "elpa", "--nb", "170"], 2,
             "--nb" if has_elpa(folder) else "no ELPA"),
            (["--kernel", "none.h5", "--output", "data.h5"], 1, "data.h5 exists"),
            (["--kernel", "none.h5", "--memory", "100K"], 1, "ranks would do")):
        ranks = 2 if {"nan.h5", "holes.h5", "elpa"} & set(words) else 1
        ended = run(folder, "spectrum", *words, ranks=min(ranks, MAX_RANKS))
        expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))
    expect(not [n for n in os.listdir(folder) if n.endswith(".new")], "something is left")


def cases(folder):
    make_inputs(folder)
    for name, ranks, words in (("none", 1, []), ("none", 3, ["--vectors", "--nb", "7"]),
                               ("none", 2, ["--nb", "48"]), ("trace", 1, ["--vectors"]),
                               ("diagonal", 2, ["--vectors", "--nb", "5"]),
                               ("pseudo", 6, ["--nb", "11", "--vectors"]), ("trace", 4, [])):
        yield f"{name} {words} on {ranks}", functools.partial(check_all, folder, name, ranks,
                                                              *words)
    for solver in ("scalapack", "elpa")[:1 + has_elpa(folder)]:
        for name, ranks, words in (("none", 1, ["--vectors"]), ("none", 2, []),
                                   ("none", 4, ["--vectors", "--nb", "9"]),
                                   ("trace", 6, ["--vectors", "--nb", "5"])):
            yield f"{name} {words} on {ranks} by {solver}", functools.partial(
                check_all, folder, name, ranks, *words, "--eigensolver", solver)
    for name, which, ranks, words in (("none", "both", 2, []), ("none", "smallest", 1, []),
                                      ("none", "largest", 3, ["--method", "lanczos"]),
                                      ("trace", "largest", 1, ["--method", "lanczos"]),
                                      ("trace", "largest", 4, ["--method", "lanczos"]),
                                      ("many", "largest", 2, [])):
        yield f"{which} of {name} on {ranks}", functools.partial(check_few, folder, name, which,
                                                                 ranks, *words)
    yield "words", lambda: check_words(folder)
    yield "refused", lambda: check_refused(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
