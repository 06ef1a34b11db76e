#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
# timeout: 600
"""--group: each group's kernel is that of a run with --only of it, the whole is the sum, on any
ranks; marks, checksums and --resume are those of every kernel in the file."""
import json
import os
import sys

from program import (XXH3, expect, h5py, must, np, read, run, run_cases, write_data)

N, M = 14, 9
GROUPS = {"first": ["conv0.*"], "weights": ["*.weight"], "head": ["head.bias", "head.weight"],
          "one": ["conv1.bias"]}
KINDS = {"full": ["--block", "5x2"], "trace": ["--reduce", "trace", "--block", "4x3"],
         "sum": ["--reduce", "trace", "--trace-scale", "sum", "--block", "16"],
         "diagonal": ["--reduce", "diagonal", "--block", "5x3"],
         "pseudo": ["--reduce", "pseudo", "--block", "5"],
         "columns": ["--inputs2", "data.h5:/others", "--block", "6x4"],
         "half": ["--store", "half", "--block", "5x2"],
         "jacobian": ["--algorithm", "jacobian", "--block", "5x2"],
         "ntvp": ["--algorithm", "ntvp", "--block", "5x2"],
         "products": ["--algorithm", "ntvp", "--reduce", "trace", "--block", "4x3"]}


def at(folder, name):
    return os.path.join(folder, name)


def make(folder):
    values = np.random.default_rng(3)
    write_data(at(folder, "data.h5"), inputs=values.standard_normal((N, 3, 6, 6)),
               others=values.standard_normal((M, 3, 6, 6)))
    must(folder, "model", "cnn", "--input", "3x6x6", "--width", "5", "--depth", "2",
         "--outputs", "4", "--seed", "1", "-o", "m.onnx")


def words_of(kind, *more):
    return ["kernel", "--model", "m.onnx", "--inputs", "data.h5", "--dtype", "f64", "--quiet",
            *KINDS[kind], *more]


def groups_of(names=GROUPS):
    return [f"--group={name}={','.join(GROUPS[name])}" for name in names]


def difference(found, due):
    return np.abs(found - due).max() / np.abs(due).max()


def set_of(kind):
    return "half/tiles" if kind == "half" else "kernel"


def check_checksums(path, prefix):
    """Of a kernel in /kernel: XXH3-64 of the valid elements of each tile."""
    with h5py.File(path, "r") as file:
        kernel, tiles = file[f"{prefix}kernel"], file[f"{prefix}tiles"]
        values, chunk = kernel[()], kernel.chunks
        done, checksums = tiles["done"][()], tiles["checksum"][()]
        scales = [[scale.name for scale in d.values()] for d in kernel.dims]
        due = [[scale.name for scale in d.values()] for d in file["kernel"].dims]
        expect(scales == due, f"{path}: {prefix}: {scales}")
    expect((done == 1).all(), f"{path}: {prefix}: not all is done")
    for tile in map(tuple, np.argwhere(done)) if XXH3 else ():
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(tile, chunk))].tobytes()
        expect(checksums[tile] == XXH3(part, len(part)), f"{path}: {prefix} checksum of {tile}")


def check_kind(folder, kind):
    """Against runs of their own."""
    due = {}
    for name, globs in [("", []), *GROUPS.items()]:
        output = f"due-{kind}-{name}.h5"
        must(folder, *words_of(kind, "--output", output), *[f"--only={glob}" for glob in globs])
        due[name] = read(at(folder, output), set_of(kind))
    layouts = [(1, []), (3, []), (3, ["--grid", "1x1x3"])]
    if "ntvp" in KINDS[kind]:  # products have no depth
        layouts.pop()
    for ranks, grid in layouts:
        output = f"{kind}-{ranks}-{len(grid)}.h5"
        must(folder, *words_of(kind, "--output", output, *groups_of(), *grid), ranks=ranks)
        whole = read(at(folder, output), set_of(kind))
        expect(difference(whole, due[""]) < 1e-13, f"{output}: whole")
        for name in GROUPS:
            found = read(at(folder, output), f"groups/{name}/{set_of(kind)}")
            expect(difference(found, due[name]) < 1e-13, f"{output}: {name}")
            if kind != "half":
                check_checksums(at(folder, output), f"groups/{name}/")
                if kind not in ("columns", "diagonal"):
                    matrix = found.reshape(np.prod(found.shape[:found.ndim // 2]), -1)
                    expect((matrix == matrix.T).all(), f"{output}: {name} is not symmetric")


def check_transformer(folder):
    """Where tensors share factors across the borders of groups, or have none."""
    groups = {"weights": ["*.weight"], "attention": ["block0.attention.qkv.*"],
              "norms": ["*norm*"], "some": ["token", "position", "*.mlp.up.bias"]}
    must(folder, "model", "vit", "--input", "3x8x8", "--width", "12", "--depth", "2", "--outputs",
         "3", "--seed", "1", "-o", "vit.onnx")
    write_data(at(folder, "images.h5"),
               inputs=np.random.default_rng(5).standard_normal((5, 3, 8, 8)))
    words = ["kernel", "--model", "vit.onnx", "--inputs", "images.h5", "--dtype", "f64", "--quiet"]
    must(folder, *words, "--output", "vit.h5", *[f"--group={name}={','.join(globs)}"
                                                  for name, globs in groups.items()])
    for name, globs in [("", []), *groups.items()]:
        must(folder, *words, "--output", f"vit-{name}.h5", *[f"--only={glob}" for glob in globs])
        found = read(at(folder, "vit.h5"), f"groups/{name}/kernel" if name else "kernel")
        due = read(at(folder, f"vit-{name}.h5"), "kernel")
        expect(difference(found, due) < 1e-13, f"vit {name}")


def check_f32(folder):
    words = ["kernel", "--model", "m.onnx", "--inputs", "data.h5", "--quiet", *groups_of(["head"])]
    must(folder, *words, "--output", "single.h5")
    with h5py.File(at(folder, "single.h5"), "r") as file:
        expect(file["groups/head/kernel"].dtype == np.float32, "not f32")


def check_info(folder):
    must(folder, *words_of("trace", "--output", "told.h5", *groups_of()))
    told = json.loads(must(folder, "info", "told.h5", "--json").out)
    expect(told["groups"] == sorted(GROUPS) and "head=head.bias,head.weight" in
           told["provenance"]["groups"], str(told))
    expect("groups      first, head, one, weights" in must(folder, "info", "told.h5").out, "words")
    plans = [json.loads(must(folder, "plan", *words_of("full", *more)[1:], "--json").out)
             for more in ([], groups_of())]
    size = os.path.getsize(at(folder, "full-1-0.h5")) if os.path.exists(
        at(folder, "full-1-0.h5")) else None
    expect(plans[1]["file_bytes"] > 4 * plans[0]["file_bytes"] * 0.5, str(plans))
    expect(size is None or abs(plans[1]["file_bytes"] - size) < 32768, f"{size}: {plans[1]}")


def check_refused(folder, words, text, code=2):
    ended = run(folder, *words)
    expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))


def check_usage(folder):
    words = words_of("full", "--output", "never.h5")
    for option, text in (("head", "NAME=GLOB"), ("=x", "NAME=GLOB"), ("a/b=*", "NAME=GLOB"),
                         ("a=", "NAME=GLOB"), ("a=none*", "no parameter"),
                         ("a=head*,none*", "like none*"), ("..=*", "NAME=GLOB")):
        check_refused(folder, [*words, f"--group={option}"], text)
    check_refused(folder, [*words, "--group=a=head*", "--group=a=*"], "two groups")


def check_resume(folder):
    """Tiles that were spoilt in any of the kernels, or marked as not done."""
    output = at(folder, "resumed.h5")
    words = words_of("full", "--output", "resumed.h5", *groups_of(["first", "one"]))
    must(folder, *words)
    due = [read(output, f"{prefix}kernel") for prefix in ("", "groups/first/", "groups/one/")]
    check_refused(folder, words_of("full", "--output", "resumed.h5", "--resume"), "groups")
    check_refused(folder, words_of("full", "--output", "resumed.h5", "--resume",
                                   *groups_of(["first"])), "groups")
    with h5py.File(output, "r+") as file:
        file["groups/one/kernel"][0, 0, 13, 1] += 1
        file["groups/first/tiles/done"][1, 0, 0, 0] = 0
        file["tiles/done"][2, 1, 2, 1] = 0
    ended = run(folder, *[w for w in words if w != "--quiet"], "--resume", ranks=3)
    expect(ended.code == 0 and any("resumed" in line for line in ended.err), str(ended))
    for prefix, values in zip(("", "groups/first/", "groups/one/"), due):
        expect((read(output, f"{prefix}kernel") == values).all(), f"{prefix}: other values")
        check_checksums(output, prefix)
    with open(at(folder, "stopped.h5.stop"), "w", encoding="utf-8"):
        pass
    words[words.index("resumed.h5")] = "stopped.h5"
    ended = run(folder, *words, ranks=3)
    expect(ended.code in (0, 75), str(ended))
    must(folder, *words, "--resume")
    for prefix, values in zip(("", "groups/first/", "groups/one/"), due):
        expect((read(at(folder, "stopped.h5"), f"{prefix}kernel") == values).all(), prefix)


def cases(folder):
    make(folder)
    for kind in KINDS:
        yield kind, lambda k=kind: check_kind(folder, k)
    yield "transformer", lambda: check_transformer(folder)
    yield "f32", lambda: check_f32(folder)
    yield "info", lambda: check_info(folder)
    yield "usage", lambda: check_usage(folder)
    yield "resume", lambda: check_resume(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
