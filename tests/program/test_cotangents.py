#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 900
"""--cotangents: the kernel of C f, C shared by all samples or one for each, on one side or both.

Values: with the full kernels that functorch made (tests/golden/references.h5), C1 K C2^T, for every
golden network and algorithm. Bytes: cotangents that are the identity give the ordinary kernel."""
import itertools
import json
import os
import shutil
import sys

from program import (HERE, MAX_RANKS, expect, h5py, must, np, read, run, run_cases,
                     write_data)

GOLDEN = os.path.join(HERE, "../golden")
REFERENCES = os.path.join(GOLDEN, "references.h5")
ALGORITHMS = ("jacobian", "ntvp", "structured", "auto")
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")
COUNT = 3  # cotangents
# kind: inputs2?, --cotangents, --cotangents2
KINDS = {"alike": (False, "alike1", None), "alike inputs2": (True, "alike1", None),
         "own": (False, "own1", None), "own own": (False, "own1", "other1"),
         "own own inputs2": (True, "own1", "own2"), "own alike inputs2": (True, "own1", "alike2"),
         "alike alike": (False, "alike1", "alike2")}


def reduced(kernel, reduction):
    """[N1, O', N2, O'] to what the program stores."""
    if reduction == "trace":
        return np.einsum("nomo->nm", kernel) / kernel.shape[1]
    if reduction == "diagonal":
        return np.einsum("nomo->onm", kernel)
    return kernel.sum((1, 3)) / kernel.shape[1] if reduction == "pseudo" else kernel


def error_of(found, expected):
    expect(found.shape == expected.shape, f"shape {found.shape} for {expected.shape}")
    return np.abs(found - expected).max() / np.abs(expected).max()


def make_cotangents(path, samples, samples2, outputs):
    random = np.random.default_rng(5)
    shapes = {"alike1": (), "alike2": (), "own1": (samples,), "other1": (samples,),
              "own2": (samples2,)}
    values = {name: random.normal(size=(*shape, COUNT, outputs)) for name, shape in shapes.items()}
    write_data(path, cotangents=values["own1"], **values)
    return values


def expected_kernel(kernel, c1, c2):
    """sum over o, p of c1[(n,)a,o] K[n,o,m,p] c2[(m,)b,p]"""
    each1, each2 = "n" * (c1.ndim - 2), "m" * (c2.ndim - 2)
    return np.einsum(f"{each1}ao,nomp,{each2}bp->namb", c1, kernel, c2, optimize=True)


def check_values(folder, network, number):
    """All kinds; the algorithms, reductions and types in turn."""
    with h5py.File(REFERENCES, "r") as file:
        group = {name: file[network][name][()] for name in file[network]}
    c = make_cotangents(os.path.join(folder, network + ".h5"), len(group["inputs"]),
                        len(group["inputs2"]), group["outputs"].shape[1])
    for i, (kind, sides) in enumerate(KINDS.items()):
        second, name1, name2 = sides
        algorithm = ALGORITHMS[(number + i) % len(ALGORITHMS)]
        reduction = REDUCTIONS[(number // 3 + i) % len(REDUCTIONS)]
        output = f"{network}-{i}.h5"
        dtype = "f32" if i % 5 == 4 else "f64"
        words = ["kernel", "--model", os.path.join(GOLDEN, network + ".onnx"), "--inputs",
                 f"{REFERENCES}:/{network}/inputs", "--cotangents", f"{network}.h5:/{name1}",
                 "--algorithm", algorithm, "--reduce", reduction, "--dtype", dtype, "--output",
                 output, "--quiet", *(["--block", "3x2"] if i % 2 else [])]
        if second:
            words += ["--inputs2", f"{REFERENCES}:/{network}/inputs2"]
        if name2:
            words += ["--cotangents2", f"{network}.h5:/{name2}"]
        must(folder, *words)
        full = expected_kernel(group["kernel2" if second else "kernel"], c[name1],
                               c[name2 or name1])
        path = os.path.join(folder, output)
        error = error_of(read(path, "kernel"), reduced(full, reduction))
        expect(error < {"f64": 1e-10, "f32": 1e-5}[dtype],
               f"{kind}, {algorithm}, {reduction}, {dtype}: off by {error:.1e}")
        for side in "12":
            wanted = group["outputs2" if second and side == "2" else "outputs"]
            expect(error_of(read(path, "outputs" + side), wanted) < 1e-4, "not the outputs")
        os.remove(path)


def kernel(folder, output, *words, ranks=1):
    must(folder, "kernel", "--model", "net.onnx", "--inputs", "data.h5", "--output", output,
         "--quiet", *words, ranks=ranks)
    return os.path.join(folder, output)


def make_network(folder, family, options, shape):
    random = np.random.default_rng(6)
    must(folder, "model", family, *options, "--output", "net.onnx")
    write_data(os.path.join(folder, "data.h5"), inputs=random.normal(size=(40, *shape)),
               labels=random.integers(0, 5, 40))


def check_identity(folder, dtype, family, options, shape):
    """With one plan the identity, of each sample or of all, gives the ordinary kernel's bytes. The
    one cotangent of pseudo is no unit vector: products of other shapes round it otherwise."""
    make_network(folder, family, options, shape)
    write_data(os.path.join(folder, "C.h5"), cotangents=np.broadcast_to(np.eye(5), (19, 5, 5)),
               alike=np.eye(5))
    base = ["--range", "7:26", "--dtype", dtype]
    for reduction, algorithm in itertools.product(REDUCTIONS, ALGORITHMS[:3]):
        plan = f"{reduction}-{algorithm}.plan"
        words = [*base, "--reduce", reduction]
        own = read(kernel(folder, plan + ".own.h5", *words, "--algorithm", algorithm, "--block",
                          "7x2", "--cotangents", "C.h5", "--write-plan", plan), "kernel")
        plain, alike, again = (
            read(kernel(folder, f"{plan}.{name}.h5", *words, "--plan", plan, *more, ranks=ranks),
                 "kernel")
            for name, ranks, more in [("plain", 1, []),
                                      ("alike", 1, ["--cotangents", "C.h5:/alike"]),
                                      ("again", min(3, MAX_RANKS), ["--cotangents", "C.h5"])])
        expect(plain.tobytes() == alike.tobytes(), f"{plan}: bytes of the identity for all")
        expect(again.tobytes() == own.tobytes(), f"{plan}: bytes by ranks")
        if reduction == "pseudo":
            expect(error_of(own, plain) < {"f64": 1e-14, "f32": 1e-6}[dtype], f"{plan}: differs")
        else:
            expect(own.tobytes() == plain.tobytes(), f"{plan}: bytes of each sample's identity")


def check_file(folder):
    """What stands in the file; ranges; .npy; two sides of the same samples."""
    make_network(folder, "fcn", ["--input", "12", "--width", "8", "--depth", "2", "--outputs", "5"],
                 (12,))
    random = np.random.default_rng(8)
    c = random.normal(size=(40, 2, 5))
    np.save(os.path.join(folder, "all.npy"), c)
    np.save(os.path.join(folder, "range.npy"), c[7:26])
    base = ["--range", "7:26", "--dtype", "f64"]
    plain = read(kernel(folder, "plain.h5", *base), "kernel")
    first = kernel(folder, "all.h5", *base, "--cotangents", "all.npy")
    second = kernel(folder, "range.h5", *base, "--cotangents", "range.npy")
    expect(error_of(read(first, "kernel"), expected_kernel(plain, c[7:26], c[7:26])) < 1e-12,
           "the range of --cotangents is not that of --inputs")
    expect(read(first, "kernel").tobytes() == read(second, "kernel").tobytes(), "not the range")
    with h5py.File(first, "r") as file:
        expect(file["outputs1"].shape == (19, 5), "outputs1 are not the network's")
        expect(list(file["output1"]) == [0, 1] and list(file["output2"]) == [0, 1], "scales")
        expect(file["output1"].attrs["long_name"] == b"cotangent", "long_name")
        expect(file["kernel"].dims[1][0].name == "/output1", "no scale of the kernel's rows")
        expect(len(file["outputs1"].dims[1]) == 0, "cotangents are no scale of outputs1")
        expect(file["outputs1"].dims[0][0].name == "/sample1", "no scale of samples")
        provenance = json.loads(file["provenance"][()])
    with h5py.File(second, "r") as file:
        other = json.loads(file["provenance"][()])
    expect(provenance["cotangents1"]["path"] == "all.npy", str(provenance))
    expect(provenance["cotangents1"]["digest"] == other["cotangents1"]["digest"], "other digest")
    expect("cotangents2" not in provenance, "cotangents2")
    np.save(os.path.join(folder, "range.npy"), 2 * c[7:26])
    third = kernel(folder, "third.h5", *base, "--cotangents", "all.npy", "--cotangents2",
                   "range.npy")
    with h5py.File(third, "r") as file:
        found = json.loads(file["provenance"][()])
        expect(file.attrs["symmetric"] == 0, "other cotangents are another side")
        expect((file["labels1"][()] == file["labels2"][()]).all(), "labels2")
    expect(found["cotangents2"]["digest"] not in (other["cotangents1"]["digest"], "0" * 32),
           "the digest of other cotangents is the same")
    expect(error_of(read(third, "kernel"), 2 * read(first, "kernel")) < 1e-12, "cotangents2")
    half = kernel(folder, "half.h5", *base, "--cotangents", "all.npy", "--block", "4x1", "--range2",
                  "20:37", "--cotangents2", "all.npy", ranks=min(2, MAX_RANKS))
    columns = kernel(folder, "columns.h5", *base, "--range2", "20:37")
    expect(error_of(read(half, "kernel"),
                    expected_kernel(read(columns, "kernel"), c[7:26], c[20:37])) < 1e-12, "range2")


REFUSED = [
    (["--cotangents", "absent.h5"], 1, ["absent.h5", "No such file"]),
    (["--cotangents", "data.h5"], 1, ["data.h5", "/cotangents"]),
    (["--cotangents", "C.h5:/vector"], 2, ["C.h5:/vector", "--cotangents", "5 outputs"]),
    (["--cotangents", "C.h5:/narrow"], 2, ["C.h5:/narrow", "5 outputs", "[40, O', 5]"]),
    (["--cotangents", "C.h5:/few"], 2, ["C.h5:/few", "39 samples", "40"]),
    (["--cotangents", "C.h5:/four"], 2, ["C.h5:/four"]),
    (["--cotangents", "C.h5", "--cotangents2", "C.h5:/more"], 2,
     ["C.h5:/more", "--cotangents2", "3 cotangents", "2"]),
    (["--cotangents", "C.h5", "--range2", "0:40"], 2, ["--cotangents2", "C.h5"]),
    (["--cotangents2", "C.h5"], 2, ["--cotangents2", "--cotangents,"]),
    (["--cotangents", "C.h5", "--select-outputs", "0"], 2, ["--select-outputs", "--cotangents"]),
    (["--cotangents", "C.h5:/nan"], 3, ["C.h5:/nan", "sample 33", "NaN"]),
    (["--cotangents", "C.h5:/alike_nan"], 3, ["C.h5:/alike_nan", "cotangent 1", "NaN"]),
    (["--cotangents", "C.h5", "--cotangents2", "C.h5:/nan"], 3, ["C.h5:/nan", "sample 33"]),
    (["--cotangents", "C.h5:/large"], 3, ["C.h5:/large", "infinity"]),
    (["--cotangents", "C.h5", "--plan", "five.plan"], 2, ["five.plan", "5", "2"]),
    (["--cotangents", "C.h5:/own5", "--plan", "five.plan"], 2, ["five.plan", "constant"]),
]


def make_refused(folder):
    make_network(folder, "fcn", ["--input", "12", "--width", "8", "--depth", "2", "--outputs", "5"],
                 (12,))
    random = np.random.default_rng(9)
    own = random.normal(size=(40, 2, 5))
    nan, alike = own.copy(), own[0].copy()
    nan[33, 1, 2] = alike[1, 3] = np.nan
    write_data(os.path.join(folder, "C.h5"), cotangents=own, vector=own[0, 0], narrow=own[:, :, :4],
               few=own[:39], four=own[..., None], more=own[:, [0, 1, 1]], nan=nan, alike_nan=alike,
               large=1e300 * own, own5=random.normal(size=(40, 5, 5)))
    kernel(folder, "any.h5", "--write-plan", "five.plan", "--algorithm", "structured")
    with open(os.path.join(folder, "five.plan"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    last = next(i for i, line in enumerate(lines) if " head.weight" in line)
    lines[last] = " ".join(["order", "constant", *lines[last].split()[2:]])
    with open(os.path.join(folder, "five.plan"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    kernel(folder, "five.h5", "--plan", "five.plan")  # suits the network's own outputs


def check_refused(folder, words, code, names):
    for ranks in (1, 3) if MAX_RANKS >= 3 else (1,):
        ended = run(folder, "kernel", "--model", "net.onnx", "--inputs", "data.h5", "--output",
                    "never.h5", "--quiet", *words, ranks=ranks)
        expect(ended.code == code and len(ended.err) == 1, str(ended))
        for name in names:
            expect(name in ended.err[0], f"'{name}' is not named: {ended}")
        for end in ("", ".new", ".part"):
            expect(not os.path.exists(os.path.join(folder, "never.h5" + end)), "left a file")


def in_own(folder, name, check, *arguments):
    own = os.path.join(folder, name)
    os.makedirs(own)
    shutil.copytree(os.path.join(folder, "cache"), os.path.join(own, "cache"))
    check(own, *arguments)


def cases(folder):
    make_refused(folder)  # measures the rates once, into the cache
    with h5py.File(REFERENCES, "r") as file:
        for number, network in enumerate(file):
            yield f"values {network}", lambda a=(network, number): check_values(folder, *a)
    fcn = ["--input", "12", "--width", "16", "--depth", "2", "--outputs", "5"]
    cnn = ["--input", "1x6x6", "--width", "4", "--depth", "2", "--outputs", "5"]
    for dtype, *network in [("f32", "fcn", fcn, (12,)), ("f64", "cnn", cnn, (1, 6, 6))]:
        yield (f"identity {dtype}", lambda a=(dtype, *network):
               in_own(folder, "identity" + a[0], check_identity, *a))
    yield "file", lambda: in_own(folder, "file", check_file)
    for words, code, names in REFUSED:
        yield " ".join(words), lambda a=(words, code, names): check_refused(folder, *a)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
