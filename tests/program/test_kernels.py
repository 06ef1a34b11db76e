#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 300
"""What is done with kernel files: export of every reduction, full and half, in every layout, against
h5py; compare and combine against numpy; verify finds what is wrong, and names the tile."""
import functools
import itertools
import json
import os
import shutil
import sys

from program import (MAX_RANKS, XXH3, expect, h5py, must, np, read, run, run_cases, write_data)

O, N = 5, 23
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")
MODEL = ["--model", "fcn.onnx", "--inputs", "data.h5"]
OPTIONS = {"verify": "model inputs inputs2 samples seed json freeze parameters",
           "compare": "spectra group json", "combine": "output",
           "export": "layout format group output"}


def at(folder, *names):
    return os.path.join(folder, *names)


def make_inputs(folder):
    random = np.random.default_rng(7)
    for seed in range(3):
        must(folder, "model", "fcn", "--input", "12", "--width", "16", "--depth", "2", "--outputs",
             str(O), "--seed", str(seed), "--output", f"fcn{seed or ''}.onnx")
    write_data(at(folder, "data.h5"), inputs=random.normal(size=(40, 12)),
               others=random.normal(size=(40, 12)), many=random.normal(size=(1102, 12)), labels=random.integers(0, O, 40))
    for reduction, store in itertools.product(REDUCTIONS, ("full", "half")):
        kernel(folder, f"{reduction}-{store}.h5", "--reduce", reduction, "--store", store)
    kernel(folder, "wide.h5", "--range2", "4:13")
    kernel(folder, "f64.h5", "--dtype", "f64", "--block", "7x3", "--algorithm", "structured")
    kernel(folder, "groups.h5", "--group", "first=*0*", "--group", "last=head*")
    kernel(folder, "trace64.h5", "--dtype", "f64", "--reduce", "trace")


def kernel(folder, output, *words, model="fcn.onnx", inputs="data.h5"):
    if "--block" not in words:
        words = (*words, "--block", "6x2")
    if "--algorithm" not in words:
        words = (*words, "--algorithm", "jacobian")
    must(folder, "kernel", "--model", model, "--inputs", inputs, "--range", f"2:{2 + N}",
         "--quiet", *words, "--output", output)


def check_help(folder):
    for command, options in OPTIONS.items():
        out = must(folder, command, "--help").out
        for option in options.split():
            expect(f"--{option} " in out, f"{command} --help does not list --{option}")


# ---- export --------------------------------------------------------------------------------------


def laid_out(K, reduction, layout):
    """A kernel as `export` lays it out; NULL where it cannot."""
    if reduction == "none":
        return {"nomp": K, "nmop": K.transpose(0, 2, 1, 3),
                "matrix": K.reshape(K.shape[0] * K.shape[1], -1)}[layout]
    if reduction == "diagonal":
        return {"nomp": K, "nmop": K.transpose(1, 2, 0), "matrix": None}[layout]
    return K


def check_export(folder, reduction, layout):
    """The half of a kernel is the whole one, byte for byte; the other format is that of a full one."""
    expected = laid_out(read(at(folder, f"{reduction}-full.h5"), "kernel"), reduction, layout)
    words = ["export", f"{reduction}-half.h5", "--layout", layout, "--output"]
    name = f"{reduction}-{layout}"
    if expected is None:
        ended = run(folder, *words, name + ".npy")
        expect(ended.code == 2 and len(ended.err) == 1 and "matrix for each" in ended.err[0],
               str(ended))
        return
    must(folder, *words, name + ".npy",
         ranks=min(3, MAX_RANKS) if name in ("none-nmop", "trace-nomp") else 1)
    found = [np.load(at(folder, name + ".npy"))]
    if layout == "nmop" or reduction == "none":
        words[1] = f"{reduction}-full.h5"
        must(folder, *words, name + ".h5", "--format", "h5")
        with h5py.File(at(folder, name + ".h5")) as file:
            found.append(file["kernel"][()])
            expect(file["labels1"].shape == (N,) and file["outputs2"].shape == (N, O), "sides")
            expect(layout == "matrix" or len(file["kernel"].dims[0]) == 1, "no scales")
    for values in found:
        expect(values.dtype == expected.dtype and values.shape == expected.shape and
               values.tobytes() == np.ascontiguousarray(expected).tobytes(),
               f"{name}: {values.shape} {values.dtype}")


def check_export_long(folder):
    """A row that is written in parts."""
    must(folder, "model", "fcn", "--input", "12", "--width", "4", "--depth", "1", "--outputs", "64",
         "--output", "long.onnx")
    must(folder, "kernel", "--model", "long.onnx", "--inputs", "data.h5:/many", "--range", "0:2",
         "--range2", "2:1102", "--block", "100x64", "--quiet", "--output", "long.h5")
    K = read(at(folder, "long.h5"), "kernel")
    for layout, ranks in (("nomp", 1), ("nmop", 2)):
        must(folder, "export", "long.h5", "--layout", layout, "--output", layout + ".npy",
             ranks=min(ranks, MAX_RANKS))
        expect((np.load(at(folder, layout + ".npy")) == laid_out(K, "none", layout)).all(), layout)


def check_export_others(folder):
    """A rectangular kernel, one of a group, of f64; what is refused."""
    for source, words, name in (("wide", [], "kernel"), ("f64", [], "kernel"),
                                ("groups", ["--group", "last"], "groups/last/kernel")):
        must(folder, "export", source + ".h5", *words, "--output", source + ".npy",
             ranks=min(2, MAX_RANKS))
        expected = read(at(folder, source + ".h5"), name)
        found = np.load(at(folder, source + ".npy"))
        expect(found.dtype == expected.dtype and (found == expected).all(), source)
    for words, code, text in ((["wide.h5", "--output", "wide.npy"], 1, "exists"),
                              (["groups.h5", "--group", "none", "-o", "n.npy"], 1, "group none"),
                              (["data.h5", "-o", "n.npy"], 1, "not a kernel file"),
                              (["missing.h5", "-o", "n.npy"], 1, "missing.h5"),
                              (["wide.h5", "-o", "no/n.npy"], 1, "no/n.npy")):
        ended = run(folder, "export", *words, ranks=min(1 + ("no/n.npy" in words), MAX_RANKS))
        expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))
    expect(not [n for n in os.listdir(folder) if n.startswith(("n.npy", "wide.npy."))],
           "something is left")


# ---- compare -------------------------------------------------------------------------------------


def as_full(K, reduction):
    if reduction == "none":
        return K
    planes = K if reduction == "diagonal" else np.broadcast_to(K, (O, *K.shape))
    full = np.zeros((K.shape[-2], O, K.shape[-1], O))
    for o in range(O):
        full[:, o, :, o] = planes[o]
    return full


def check_compare(folder, one, other, ranks=1):
    """full against pseudo x I_O and the like."""
    def whole(name, reduction):
        return as_full(read(at(folder, name + ".h5"), "kernel").astype(float), reduction)
    a, b = (whole(name.replace("half", "full"), name.split("-")[0] if "-" in name else "none")
            for name in (one, other))
    found = json.loads(must(folder, "compare", one + ".h5", other + ".h5", "--json", "--spectra",
                            "7", ranks=min(ranks, MAX_RANKS)).out)
    norm = np.linalg.norm
    expected = {"frobenius": norm(a - b) / norm(b), "largest": abs(a - b).max() / abs(b).max(),
                "cosine": (a * b).sum() / norm(a) / norm(b)}
    for key, value in expected.items():
        expect(abs(found[key] - value) < 1e-9 * max(1, value), f"{key}: {found[key]}, not {value}")
    if (a != b).any():
        place = tuple(found["at"])
        expect(np.isclose(abs(a - b)[place], abs(a - b).max(), rtol=1e-12), f"at {place}")
    for key, K in (("eigenvalues_a", a), ("eigenvalues_b", b)):
        values = np.linalg.eigvalsh(K.reshape(N * O, -1))[::-1]
        expect(abs(found[key] - values[:7]).max() < 1e-10 * values[0], f"{key}: {found[key]}")


def check_compare_pairs(folder):
    """Of two reduced kernels each is itself."""
    found = json.loads(must(folder, "compare", "trace-half.h5", "trace64.h5", "--json").out)
    expect(found["frobenius"] < 1e-6 and 1 - found["cosine"] < 1e-12, str(found))
    found = json.loads(must(folder, "compare", "wide.h5", "wide.h5", "--json", ranks=2).out)
    expect(found["frobenius"] == 0 and found["cosine"] > 1 - 1e-15, str(found))
    words = must(folder, "compare", "none-full.h5", "f64.h5").out
    expect("|A - B|" in words and "cosine" in words, words)
    for words, code, text in ((["wide.h5", "f64.h5"], 2, "samples"),
                              (["wide.h5", "wide.h5", "--spectra", "2"], 2, "symmetric"),
                              (["wide.h5", "data.h5"], 1, "data.h5")):
        ended = run(folder, "compare", *words, ranks=min(code, MAX_RANKS))
        expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))


# ---- combine -------------------------------------------------------------------------------------


def check_combine(folder, reduction, store, ranks):
    names = [f"member-{reduction}-{store}-{k}.h5" for k in range(3)]
    for k, name in enumerate(names):
        kernel(folder, name, "--reduce", reduction, "--store", store, "--block",
               ("6x2", "5x5", "6x2")[k], model=f"fcn{k or ''}.onnx")
    output = f"mean-{reduction}-{store}.h5"
    must(folder, "combine", *names, "--output", output, ranks=min(ranks, MAX_RANKS))
    values = []
    for name in names:
        if store == "half":
            must(folder, "export", name, "--output", name + ".npy")
            values.append(np.load(at(folder, name + ".npy")).astype(float))
        else:
            values.append(read(at(folder, name), "kernel").astype(float))
    for words, expected in (([], np.mean(values, 0)),
                            (["--group", "variance"], np.var(values, 0, ddof=1))):
        target = f"{output}{len(words)}.npy"
        must(folder, "export", output, *words, "--output", target)
        found = np.load(at(folder, target))
        expect(abs(found - expected).max() <= 1e-6 * abs(expected).max(), f"{output} {words}")
        if reduction in ("none", "trace"):
            matrix = found.reshape(N * (O if reduction == "none" else 1), -1)
            expect((matrix == matrix.T).all(), f"{output} {words}: not symmetric")
    outputs = np.mean([read(at(folder, name), "outputs1") for name in names], 0)
    expect(abs(read(at(folder, output), "outputs1") - outputs).max() < 1e-6, "outputs")
    expect((read(at(folder, output), "labels1") == read(at(folder, names[0]), "labels1")).all(),
           "labels")
    out = must(folder, "verify", output).out
    expect("group variance" in out and "WRONG" not in out and out.count("minors") == 1, out)


def check_combine_refused(folder):
    kernel(folder, "other-samples.h5", inputs="data.h5:/others")
    for words, text in ((["wide.h5", "f64.h5"], "wide.h5"), (["f64.h5", "other-samples.h5"], "1"),
                        (["none-full.h5", "other-samples.h5"], "sample 2 of its rows"),
                        (["trace-full.h5", "pseudo-full.h5"], "reduction")):
        ended = run(folder, "combine", *words, "--output", "never.h5",
                    ranks=min(len(text) % 2 + 1, MAX_RANKS))
        if text == "1":
            expect(ended.code == 0, str(ended))  # samples of another type are told by number alone
            os.remove(at(folder, "never.h5"))
            continue
        expect(ended.code == 2 and len(ended.err) == 1 and text in ended.err[0], str(ended))
        expect(not [n for n in os.listdir(folder) if "never" in n], "something is left")
    expect(run(folder, "combine", "f64.h5", "--output", "never.h5").code == 2, "of one")


# ---- verify --------------------------------------------------------------------------------------


def check_right(folder, name, *words, ranks=1):
    out = must(folder, "verify", name, *words, "--json", ranks=min(ranks, MAX_RANKS)).out
    found = json.loads(out)
    expect(found["good"] and found["kernels"][0]["checksums"]["wrong"] == 0, str(found))
    if words:
        entries = found["entries"]
        expect(entries["compared"] > 0 and entries["difference"] < entries["allowed"] / 3, out)


def damaged(folder, name, change):
    copy = f"damaged-{change.__name__}-{name}"
    shutil.copy(at(folder, name), at(folder, copy))
    with h5py.File(at(folder, copy), "r+") as file:
        change(file)
    return copy


def a_value(file):  # not symmetric
    if "kernel" in file:
        file["kernel"][13, 3, 2, 1] *= 1.001
    else:
        file["half/tiles"][1, 1, 0, 0, 1] *= 1.001


def a_checksum(file):
    place = (3, 0, 1, 2) if "kernel" in file else (7,)
    file["tiles/checksum"][place] ^= np.uint64(1 << 40)


def a_nan(file):
    file["kernel"][20, 1, 22, 0] = np.nan


def a_sign(file):
    K = file["kernel"]
    K[7, 2, 7, 2] = -K[7, 2, 7, 2]


def a_size(file):
    K = file["kernel"]
    K[7, 2, 9, 1] = K[9, 1, 7, 2] = 10 * K[:].max()


def a_mark(file):
    file["tiles/done"][1, 1, 2, 0] = 0
    file["tiles/done"][0, 1, 2, 0] = 0
    file.attrs["complete"] = np.uint8(0)


def sign_tiles(file):
    """Right checksums of whatever is there."""
    K, checksums = file["kernel"], file["tiles/checksum"]
    for tile in np.ndindex(*checksums.shape):
        part = K[tuple(slice(i * c, (i + 1) * c) for i, c in zip(tile, K.chunks))].tobytes()
        checksums[tile] = XXH3(part, len(part))


def signed(change):
    """The same change where no checksum tells."""
    def changed(file):
        change(file)
        sign_tiles(file)
    changed.__name__ = "signed_" + change.__name__
    return changed


def check_damage(folder, name, change, text, code, ranks):
    copy = damaged(folder, name, change)
    ended = run(folder, "verify", copy, "--json", ranks=min(ranks, MAX_RANKS))
    expect(ended.code == code and len(ended.err) == 1, str(ended))
    expect(text in ended.err[0], f"{text!r}: {ended}")
    expect(json.loads(ended.out)["good"] is False, "good")


def check_truncated(folder):
    with open(at(folder, "none-full.h5"), "rb") as file:
        data = file.read()
    with open(at(folder, "short.h5"), "wb") as file:
        file.write(data[:len(data) // 2])
    ended = run(folder, "verify", "short.h5", ranks=min(2, MAX_RANKS))
    expect(ended.code == 1 and len(ended.err) == 1 and "short.h5" in ended.err[0], str(ended))


def check_entries(folder):
    """Entries of another model, of other samples, and one that a right checksum does not tell."""
    for words, text in ((["--model", "fcn1.onnx", "--inputs", "data.h5"], "not of this model"),
                        (["--model", "fcn.onnx", "--inputs", "data.h5:/others"],
                         "is not the one that the file was made of")):
        ended = run(folder, "verify", "none-full.h5", *words, ranks=min(2, MAX_RANKS))
        expect(ended.code == 1 and len(ended.err) == 1 and text in ended.err[0], str(ended))
    copy = "entries.h5"
    shutil.copy(at(folder, "trace64.h5"), at(folder, copy))
    with h5py.File(at(folder, copy), "r+") as file:
        file["kernel"][...] *= 1 + 1e-8
        if XXH3:
            sign_tiles(file)
    ended = run(folder, "verify", copy, *MODEL)
    expect(ended.code == 1 and "entries     WRONG" in ended.out, str(ended))
    expect(not XXH3 or "entries are not those of the model" in ended.err[0], str(ended))
    for words, text in ((["--model", "fcn.onnx"], "--inputs"), (["--samples", "3"], "--model"),
                        (["--freeze", "*"], "--model")):
        ended = run(folder, "verify", "none-full.h5", *words)
        expect(ended.code == 2 and len(ended.err) == 1 and text in ended.err[0], str(ended))


def cases(folder):
    make_inputs(folder)
    yield "help", lambda: check_help(folder)
    for reduction, layout in itertools.product(REDUCTIONS, ("nomp", "nmop", "matrix")):
        yield f"export {reduction} {layout}", functools.partial(check_export, folder, reduction,
                                                                layout)
    yield "export of long rows", lambda: check_export_long(folder)
    yield "export of others", lambda: check_export_others(folder)
    for one, other, ranks in (("f64", "none-half", 1), ("none-half", "trace-full", 3),
                              ("pseudo-half", "f64", 1), ("diagonal-half", "none-full", 2),
                              ("trace-full", "diagonal-full", 1)):
        yield f"compare {one} {other}", functools.partial(check_compare, folder, one, other, ranks)
    yield "compare pairs", lambda: check_compare_pairs(folder)
    for reduction, store, ranks in (("none", "full", 3), ("trace", "half", 1)):
        yield f"combine {reduction} {store}", functools.partial(check_combine, folder, reduction,
                                                                store, ranks)
    yield "combine refused", lambda: check_combine_refused(folder)
    for name, words, ranks in (("none-full.h5", MODEL, 1), ("none-half.h5", MODEL, 3),
                               ("trace-half.h5", MODEL, 1), ("diagonal-full.h5", MODEL, 1),
                               ("wide.h5", MODEL, 1), ("f64.h5", [*MODEL, "--samples", "4"], 1),
                               ("groups.h5", [], 1), ("pseudo-half.h5", MODEL, 1)):
        yield f"verify {name}", functools.partial(check_right, folder, name, *words, ranks=ranks)
    for name, change, text, code, ranks in (
            ("none-full.h5", a_value, "tile 2,1,0,0: not what its checksum says", 1, 6),
            ("none-half.h5", a_value, "not what its checksum says", 1, 1),
            ("none-full.h5", a_checksum, "tile 3,0,1,2: not what its checksum says", 1, 1),
            ("none-half.h5", a_checksum, "tile 7", 1, 1),
            ("none-full.h5", a_nan, "tile 3,0,3,0", 1, 1),
            ("none-full.h5", a_mark, "2 of 144 tiles are missing; finish them", 1, 2),
            ("none-full.h5", signed(a_value), "tile 0,0,2,1: not symmetric", 1, 1),
            ("none-full.h5", signed(a_sign), "tile 1,1,1,1: a negative entry on the diagonal", 1, 1),
            ("none-full.h5", signed(a_size), ": an entry larger than its diagonal entries", 1, 1)):
        if "signed" in change.__name__ and not XXH3:
            continue
        yield f"damage {name} {change.__name__}", functools.partial(check_damage, folder, name,
                                                                    change, text, code, ranks)
    yield "truncated", lambda: check_truncated(folder)
    yield "entries", lambda: check_entries(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
