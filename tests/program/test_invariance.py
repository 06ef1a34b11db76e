#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 900
"""Same plan, same bytes: /kernel does not depend on ranks, grid or memory.

A run on one rank writes its plan, with blocks that divide neither the samples nor the outputs;
runs with that plan on other layouts must give the same bytes. With it: symmetry to the bit, marks,
checksums (against libxxhash itself, where it is found), reductions against the full kernel."""
import itertools
import json
import os
import re
import sys

from program import (MAX_RANKS, check_checksums, expect, h5py, must, np, read, run, run_cases,
                     write_data)

N, O = 23, 5
NETWORKS = {"fcn": ["--input", "12", "--width", "16", "--depth", "2"],
            "cnn": ["--input", "1x6x6", "--width", "4", "--depth", "2"]}
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")
GRIDS = [(2, "1x2"), (3, "3x1"), (4, "2x2"), (6, "2x3"), (2, "2x1"), (6, "1x6"),
         (3, "1x3"), (4, "4x1"), (6, None), (3, "1x2"), (4, None), (6, "3x2"),
         (12, "4x3"), (12, None)]
LAYOUTS = [(ranks, grid) for ranks, grid in GRIDS if ranks <= MAX_RANKS] or [(1, "1x1")]
COLUMNS = {"same": [], "inputs2": ["--inputs2", "other.h5"], "range2": ["--range2", "20:37"]}


def grid_option(grid):
    return ["--grid", grid] if grid else []


def make_inputs(folder):
    random = np.random.default_rng(1)
    for name, options in NETWORKS.items():
        must(folder, "model", name, *options, "--outputs", str(O), "--output", name + ".onnx")
        shape = [int(n) for n in options[1].split("x")]
        path = os.path.join(folder, name)
        os.makedirs(path)
        write_data(os.path.join(path, "data.h5"), inputs=random.normal(size=(40, *shape)),
                   labels=random.integers(0, O, 40))
        write_data(os.path.join(path, "other.h5"), inputs=random.normal(size=(17, *shape)))


def kernel(folder, output, network, words, ranks=1):
    must(os.path.join(folder, network), "kernel", "--model", f"../{network}.onnx", "--inputs",
         "data.h5", "--range", f"3:{3 + N}", "--output", output, "--quiet", *words, ranks=ranks)
    return os.path.join(folder, network, output)


def check_symmetry(values):
    if values.ndim == 4:
        expect((values == values.transpose(2, 3, 0, 1)).all(), "K[n,o,m,p] is not K[m,p,n,o]")
    else:
        expect((values == np.swapaxes(values, -1, -2)).all(), "K is not its transpose")


def check_tiles(path, chunk):
    """Every tile marked; every checksum that of the tile's valid elements."""
    with h5py.File(path, "r") as file:
        done = file["tiles/done"][()]
        expect(file["kernel"].chunks == chunk, f"{path}: chunks are {file['kernel'].chunks}")
        expect((done == 1).all(), f"{path}: {(done != 1).sum()} of {done.size} tiles are not done")
        expect(file.attrs["complete"] == 1, f"{path}: complete is not 1")
    check_checksums(path)


def chunk_of(values, reduction, b, q):
    block = {"none": (b, q, b, q), "diagonal": (q, b, b)}.get(reduction, (b, b))
    return tuple(map(min, block, values.shape))


def check_same(path, expected, dataset="kernel"):
    values = read(path, dataset)
    expect(values.dtype == expected.dtype and values.tobytes() == expected.tobytes(),
           f"{path}: {(values != expected).sum()} of {values.size} entries differ")


def compare_layouts(folder, network, name, words, columns, layouts):
    """One rank, then the layouts with its plan; the kernel."""
    plan = name + ".plan"
    first = kernel(folder, name + ".h5", network,
                   [*words, *COLUMNS[columns], "--block", "7x2", "--write-plan", plan])
    expected = read(first, "kernel")
    reduction = words[words.index("--reduce") + 1]
    check_tiles(first, chunk_of(expected, reduction, 7, 2))
    expect(np.isfinite(expected).all() and np.ptp(expected) > 0, f"{first}: not a kernel")
    if columns == "same":
        check_symmetry(expected)
    for ranks, grid in layouts:
        path = kernel(folder, f"{name}-{ranks}-{grid}.h5", network,
                      [*COLUMNS[columns], "--plan", plan, *grid_option(grid)], ranks)
        check_same(path, expected)
        expect((read(path, "tiles/checksum") == read(first, "tiles/checksum")).all(),
               f"{path}: checksums differ")
        check_tiles(path, chunk_of(expected, reduction, 7, 2))
        os.remove(path)
    return expected


def reduced(full, reduction):
    """[N1, O, N2, O] to what the program stores."""
    if reduction == "trace":
        return np.einsum("nomo->nm", full) / O
    if reduction == "diagonal":
        return np.einsum("nomo->onm", full)
    return full.sum((1, 3)) / O if reduction == "pseudo" else full


def compare_reductions(folder, network, dtype, columns, number):
    """Every reduction on two layouts each, and against the full kernel."""
    full = None
    for i, reduction in enumerate(REDUCTIONS):
        layouts = [LAYOUTS[(2 * (4 * number + i) + k) % len(LAYOUTS)] for k in range(2)]
        found = compare_layouts(folder, network, f"{dtype}-{columns}-{reduction}",
                                ["--dtype", dtype, "--reduce", reduction, "--algorithm",
                                 "structured" if dtype == "f64" else "auto"], columns, layouts)
        expect(found.dtype.name == {"f32": "float32", "f64": "float64"}[dtype], str(found.dtype))
        full = found.astype(np.float64) if full is None else full
        error = np.abs(found - reduced(full, reduction)).max() / np.abs(full).max()
        expect(error < {"f32": 1e-5, "f64": 1e-13}[dtype], f"{reduction}: off by {error:.1e}")


def compare_algorithms(folder, network, algorithm):
    layouts = [lay for lay in [(3, "1x3"), (4, "2x2")] if lay[0] <= MAX_RANKS]
    for dtype, reduction, columns in [("f32", "none", "same"), ("f64", "trace", "inputs2"),
                                      ("f64", "pseudo", "same")]:
        compare_layouts(folder, network, f"{algorithm}-{dtype}-{reduction}",
                        ["--dtype", dtype, "--reduce", reduction, "--algorithm", algorithm],
                        columns, layouts)


def compare_few_tiles(folder, network):
    """More ranks than tiles, down to a single one; a kernel file as the plan of the next."""
    for block in (12, 100):
        name = f"few-{block}"
        first = kernel(folder, name + ".h5", network, ["--block", str(block)])
        expected = read(first, "kernel")
        check_tiles(first, chunk_of(expected, "none", block, 5))
        for ranks, grid in [(4, "2x2"), (6, "1x6"), (6, "6x1"), (6, None)]:
            if ranks <= MAX_RANKS:
                check_same(kernel(folder, f"{name}-{ranks}-{grid}.h5", network,
                                  ["--plan", name + ".h5", *grid_option(grid), "--columns",
                                   "recompute" if grid == "6x1" else "auto"], ranks), expected)


def compare_blocks(folder, network):
    """Other blocks are another plan: the same kernel but for rounding. f64."""
    def of(block):
        words = ["--dtype", "f64", *(["--block", block] if block else [])]
        return read(kernel(folder, f"block-{block}.h5", network, words), "kernel")
    expected = of(None)
    for block in ("1x1", "5", "23x3"):
        error = np.abs(of(block) - expected).max() / np.abs(expected).max()
        expect(error < 1e-13, f"--block {block}: off by {error:.1e}")


def compare_passes(folder, network, reduction, columns, dtype):
    """Passes over groups of parameters: the same bytes on any layout, also of a kernel of its own."""
    name = f"passes-{network}-{reduction}"
    words = ["kernel", "--model", network + ".onnx", "--inputs", network + ".h5", "--range",
             f"0:{N}", *columns, "--reduce", reduction, "--dtype", dtype, "--group", "head=head*"]
    must(folder, *words, "--write-plan", name + ".plan", "--block", "5x2", "--output",
         name + ".h5", "--quiet")
    layouts = [(1, None, 2), (1, None, 100), (2, "1x2", 100), (3, "3x1", 2), (6, "2x3", 100),
               (4, "2x1x2", 2)]
    for ranks, grid, passes in (lay for lay in layouts if lay[0] <= MAX_RANKS):
        ours, one = [*words, "--plan", name + ".plan", *grid_option(grid)], name
        if grid == "2x1x2":  # sums of two parts
            one = name + "-deep"
            must(folder, *ours, "--passes", "1", "--output", one + ".h5", "--quiet", ranks=ranks)
        output = f"{name}-{ranks}-{passes}.h5"
        log = must(folder, *ours, "--passes", str(passes), "--output", output, ranks=ranks).err
        expect(re.search(r"(?m)^plan .* (\d+) passes over the parameters", "\n".join(log)),
               f"no passes: {log}")
        for dataset in ("kernel", "groups/head/kernel"):
            check_same(os.path.join(folder, output),
                       read(os.path.join(folder, one + ".h5"), dataset), dataset)


DEPTHS = [(2, "1x1x2"), (4, "2x1x2"), (6, "1x2x3"), (4, "1x1x4"), (3, "1x1x3"), (6, "3x1x2")]


def compare_depths(folder, network, reduction, columns, number, algorithm):
    """Parameters split over the depth: the same kernel but for the order of sums; no two runs on a
    grid differ."""
    words = ["kernel", "--model", network + ".onnx", "--inputs", network + ".h5", "--range",
             f"0:{N}", *columns]
    name = f"depth-{network}-{reduction}-{algorithm}-{number}"
    must(folder, *words, "--write-plan", name + ".plan", "--dtype", "f64", "--reduce", reduction,
         "--block", "5x2", "--algorithm", algorithm, "--output", name + ".h5", "--quiet")
    expected = read(os.path.join(folder, name + ".h5"), "kernel")
    grids = [g for g in DEPTHS if g[0] <= MAX_RANKS]
    for ranks, grid in (grids[(number + k) % len(grids)] for k in range(min(2, len(grids)))):
        found = []
        for again in range(2):
            output = f"{name}-{grid}-{again}.h5"
            must(folder, *words, "--plan", name + ".plan", "--grid", grid, "--output", output,
                 "--quiet", ranks=ranks)
            check_checksums(os.path.join(folder, output))
            found.append(read(os.path.join(folder, output), "kernel"))
        error = np.abs(found[0] - expected).max() / np.abs(expected).max()
        expect(error < 1e-13, f"--grid {grid}: off by {error:.1e}")
        expect(found[0].tobytes() == found[1].tobytes(), f"--grid {grid}: not the same twice")
        if not columns:
            check_symmetry(found[0])


def check_depth_of_products(folder):
    if MAX_RANKS < 2:
        return
    ended = run(folder, "kernel", "--model", "wide.onnx", "--inputs", "wide.h5", "--output", "no.h5",
                "--algorithm", "ntvp", "--grid", "1x1x2", ranks=2)
    expect(ended.code == 2 and "NTK-vector products" in ended.err[-1], str(ended))


def smallest_memory(folder, words, ranks):
    ended = run(folder, *words, "--output", "never.h5", "--memory", "1M", ranks=ranks)
    expect(ended.code == 1 and len(ended.err) == 1 and "--memory " in ended.err[-1], str(ended))
    return ended.err[-1].split("use --memory ")[1].split()[0]


def compare_memory(folder, reduction, columns, layouts):
    """The least memory: panels of one block (of all parts of one, where they are summed)."""
    words = ["kernel", "--model", "wide.onnx", "--inputs", "wide.h5", "--range", f"0:{N}",
             *columns, "--plan", reduction + ".plan"]
    must(folder, *words[:-2], "--write-plan", reduction + ".plan", "--dtype", "f64", "--reduce",
         reduction, "--block", "6x2", "--output", f"wide-{reduction}.h5", "--quiet")
    expected = read(os.path.join(folder, f"wide-{reduction}.h5"), "kernel")
    for (ranks, grid), passes in itertools.product(layouts, ("1", "2")):
        ours = [*words, *grid_option(grid), "--passes", passes]
        output = f"wide-{reduction}-{ranks}-{passes}.h5"
        least = smallest_memory(folder, ours, ranks)
        log = must(folder, *ours, "--output", output, "--memory", least, ranks=ranks).err
        panel = 3 if reduction == "trace" else 1
        expect(any(f", panels of {panel}, " in line for line in log),
               f"not panels of {panel}: {log}")
        check_same(os.path.join(folder, output), expected)


def check_least(folder):
    """Where one pass over many wide layers doesn't fit, more are taken."""
    must(folder, "model", "fcn", "--input", "20", "--width", "800", "--depth", "6", "--outputs",
         str(O), "--output", "deep.onnx")
    write_data(os.path.join(folder, "deep.h5"),
               inputs=np.random.default_rng(3).normal(size=(90, 20)))
    words = ["kernel", "--model", "deep.onnx", "--inputs", "deep.h5", "--dtype", "f64"]
    must(folder, *words, "--block", "64", "--output", "deep-one.h5", "--write-plan", "deep.plan",
         "--quiet")
    words += ["--plan", "deep.plan"]
    of_one, least = (int(smallest_memory(folder, [*words, *more], 1)[:-1])
                     for more in (["--passes", "1"], []))
    expect(least < of_one - 20, f"{least}M, with one pass {of_one}M")
    log = must(folder, *words, "--output", "deep-least.h5", "--memory", f"{least}M").err
    expect(any(" passes over the parameters" in line for line in log), f"one pass: {log}")
    check_same(os.path.join(folder, "deep-least.h5"),
               read(os.path.join(folder, "deep-one.h5"), "kernel"))


def cases(folder):
    make_inputs(folder)
    random = np.random.default_rng(2)
    must(folder, "model", "cnn", "--input", "1x12x12", "--width", "64", "--depth", "2",
         "--outputs", str(O), "--output", "wide.onnx")
    write_data(os.path.join(folder, "wide.h5"), inputs=random.normal(size=(40, 1, 12, 12)))
    must(folder, "model", "fcn", "--input", "300", "--width", "8", "--depth", "1", "--outputs",
         str(O), "--output", "thin.onnx")  # few channels: cut along k
    write_data(os.path.join(folder, "thin.h5"), inputs=random.normal(size=(40, 300)))
    kernel(folder, "rates.h5", "fcn", [])  # measures the rates once, into the cache
    few = [lay for lay in [(1, None), (2, "1x2"), (3, "3x1")] if lay[0] <= MAX_RANKS]
    yield "least memory", lambda: check_least(folder)
    for reduction, columns in [("none", []), ("trace", ["--range2", "20:37"])]:
        yield (f"memory {reduction}",
               lambda r=reduction, c=columns: compare_memory(folder, r, c, few))
    for number, (reduction, network) in enumerate(itertools.product(REDUCTIONS, ("wide", "thin"))):
        yield (f"passes {network} {reduction}",
               lambda a=(network, reduction, ["--range2", "20:37"] if number % 3 == 1 else [],
                         ("f32", "f64")[number % 2]): compare_passes(folder, *a))
    for number, reduction in enumerate(REDUCTIONS):
        columns = ["--range2", "20:37"] if number % 2 else []
        yield (f"depth {reduction}",
               lambda r=reduction, c=columns, n=number: compare_depths(folder, "wide", r, c, n,
                                                                       "structured"))
    yield "depth thin", lambda: compare_depths(folder, "thin", "trace", [], 0, "structured")
    yield "depth jacobian", lambda: compare_depths(folder, "wide", "none", [], 2, "jacobian")
    yield "depth ntvp", lambda: check_depth_of_products(folder)
    sides = [("same", "inputs2"), ("same", "range2")]
    kinds = [(n, d, c) for i, (n, d) in enumerate(itertools.product(NETWORKS, ("f32", "f64")))
             for c in sides[i % 2]]
    for number, (network, dtype, columns) in enumerate(kinds):
        yield (f"layouts {network} {dtype} {columns}", lambda a=(network, dtype, columns, number):
               compare_reductions(folder, *a))
    for network in NETWORKS:
        for algorithm in ("jacobian", "ntvp"):
            yield (f"algorithm {network} {algorithm}",
                   lambda n=network, a=algorithm: compare_algorithms(folder, n, a))
        yield f"few tiles {network}", lambda n=network: compare_few_tiles(folder, n)
        yield f"blocks {network}", lambda n=network: compare_blocks(folder, n)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
