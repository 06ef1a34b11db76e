#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 600
"""--store half: the tiles of half a kernel, against the full file of the same plan, element by
element and byte by byte; on several ranks; how it is described and refused."""
import functools
import itertools
import json
import os
import sys

from program import (MAX_RANKS, XXH3, expect, h5py, must, np, read, run, run_cases, write_data)

O = 5
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")
# samples, --block, sample blocks: odd and even, ragged, one, none that is full
SIZES = [(23, "5x2", 5), (23, "6x2", 4), (24, "4x5", 6), (7, "7x3", 1), (3, "8x8", 1)]
KERNEL = ["kernel", "--model", "fcn.onnx", "--dtype", "f32", "--quiet"]
WORDS = [*KERNEL, "--inputs", "data.h5"]


def make_inputs(folder):
    must(folder, "model", "fcn", "--input", "12", "--width", "16", "--depth", "2", "--outputs",
         str(O), "--output", "fcn.onnx")
    random = np.random.default_rng(5)
    write_data(os.path.join(folder, "data.h5"), inputs=random.normal(size=(40, 12)))


def read_whole(path):
    """As the README says."""
    with h5py.File(path) as f:
        tiles = f["half/tiles"]
        N, O, B, Q = len(f["sample1"]), len(f["output1"]), *tiles.shape[1:3]
        parts, K = -(-O // Q), np.empty((N, O, N, O), tiles.dtype)
        for T, row, column in zip(tiles, f["half/row"], f["half/column"]):
            n, o, m, p = row // parts * B, row % parts * Q, column // parts * B, column % parts * Q
            T = T[:N - n, :O - o, :N - m, :O - p]
            K[n:n + B, o:o + Q, m:m + B, p:p + Q] = T
            K[m:m + B, p:p + Q, n:n + B, o:o + Q] = T.transpose(2, 3, 0, 1)
    return K


def box_of(file, k):
    """Where tile k stands in /kernel, and where its transpose."""
    shape, (N, O) = file["half/tiles"].shape[1:], (len(file["sample1"]), len(file["output1"]))
    row, column = int(file["half/row"][k]), int(file["half/column"][k])
    if len(shape) == 4:
        B, Q, parts = *shape[:2], -(-O // shape[1])
    elif len(shape) == 3:
        Q, B, parts = *shape[:2], -(-O // shape[0])
    else:
        B, Q, parts = shape[0], O, 1
    def span(at, size, end):
        return slice(at * size, min((at + 1) * size, end))
    n, m = (span(r // parts, B, N) for r in (row, column))
    o, p = (span(r % parts, Q, O) for r in (row, column))
    if len(shape) == 4:
        return (n, o, m, p), (m, p, n, o)
    return ((o, n, m), (o, m, n)) if len(shape) == 3 else ((n, m), (m, n))


def compare(half, full):
    """Each element of the full kernel stands once in the half, or its transpose does; marks and
    checksums are those of the full file."""
    K = read(full, "kernel")
    times = np.zeros(K.shape, int)
    with h5py.File(half) as file, h5py.File(full) as other:
        tiles, chunk = file["half/tiles"], other["kernel"].chunks
        expect("kernel" not in file and tiles.dtype == K.dtype, "not half a kernel")
        expect(tiles.chunks == (1, *tiles.shape[1:]) and tiles.shape[1:] == chunk,
               f"chunks {tiles.chunks} of {tiles.shape}")
        expect((file["tiles/done"][()] == 1).all() and file.attrs["complete"] == 1, "not done")
        for k in range(len(tiles)):
            here, there = box_of(file, k)
            sizes = tuple(s.stop - s.start for s in here)
            T = np.ascontiguousarray(tiles[k][tuple(slice(size) for size in sizes)])
            expect(T.tobytes() == K[here].tobytes(), f"{half}: tile {k} differs")
            at = tuple(s.start // c for s, c in zip(here, chunk))
            checksum = file["tiles/checksum"][k]
            expect(checksum == other["tiles/checksum"][at], f"{half}: checksum {k} differs")
            expect(not XXH3 or checksum == XXH3(T.tobytes(), T.nbytes), f"checksum {k} is wrong")
            times[here] += 1
            if here != there:
                times[there] += 1
        for name in ("outputs1", "outputs2", "digest1", "sample1", "output2"):
            expect((file[name][()] == other[name][()]).all(), f"{name} differs")
    expect((times == 1).all(), f"{half}: {(times != 1).sum()} elements not exactly once")
    return K


def compare_sizes(folder, reduction, size, counts):
    samples, block, blocks = size
    name = f"{reduction}-{samples}-{block}"
    words = [*WORDS, "--range", f"2:{2 + samples}"]
    must(folder, *words, "--reduce", reduction, "--block", block, "--write-plan", name + ".plan",
         "--output", name + ".h5")
    full = os.path.join(folder, name + ".h5")
    for ranks in sorted({min(count, MAX_RANKS) for count in counts}):
        half = os.path.join(folder, f"{name}-{ranks}.h5")
        must(folder, *words, "--plan", name + ".plan", "--store", "half", "--output", half,
             ranks=ranks)
        K = compare(half, full)
        with h5py.File(half) as file:
            expect(len(file["half/tiles"]) >= blocks * (blocks + 1) // 2, "too few tiles")
        if reduction == "none":
            expect((read_whole(half) == K).all(), "not as the README reads it")


def check_order(folder):
    """The order of the tiles is that of the file alone: the same with every layout."""
    for ranks, grid in [(1, "1x1"), (2, "1x2"), (4, "4x1"), (6, "2x3")]:
        if ranks <= MAX_RANKS:
            must(folder, *WORDS, "--block", "3x2", "--algorithm", "jacobian", "--store", "half",
                 "--grid", grid, "--output", f"order-{grid}.h5", ranks=ranks)
    found = [os.path.join(folder, name) for name in os.listdir(folder) if "order-" in name]
    for name in ("half/row", "half/column", "half/tiles", "tiles/checksum"):
        first = read(found[0], name)
        expect(all((read(path, name) == first).all() for path in found), f"{name} differs")


def check_description(folder):
    words = [*WORDS, "--block", "4x2", "--algorithm", "jacobian"]
    must(folder, *words, "--output", "whole.h5")
    must(folder, *words, "--store", "half", "--output", "part.h5")
    whole, half = (json.loads(must(folder, "info", name, "--json").out)
                   for name in ("whole.h5", "part.h5"))
    for key in ("shape", "type", "reduction", "complete", "symmetric", "trace", "diagonal"):
        expect(whole[key] == half[key], f"{key}: {whole[key]} and {half[key]}")
    expect(half["store"] == "half" and whole["store"] == "full", str(half["store"]))
    expect(half["asymmetry"] == 0 and half["done"] == half["tiles"], str(half))
    expect(10 * 6 + 45 * 9 == half["tiles"], f"{half['tiles']} tiles")
    with h5py.File(os.path.join(folder, "part.h5"), "r+") as file:
        k = int(np.argwhere(file["half/row"][()] == file["half/column"][()])[3, 0])
        file["half/tiles"][k, 1, 0, 0, 0] += 4
    changed = json.loads(must(folder, "info", "part.h5", "--json").out)
    expect(abs(changed["asymmetry"] - 4) < 1e-3, f"asymmetry {changed['asymmetry']}")
    words = must(folder, "info", "part.h5").out
    expect("\nstored      half" in words and "[40, 5, 40, 5] f32 (sample1, output1" in words, words)
    must(folder, *WORDS, "--plan", "part.h5", "--output", "again.h5")
    expect((read(os.path.join(folder, "again.h5"), "kernel") == read(
        os.path.join(folder, "whole.h5"), "kernel")).all(), "--plan part.h5: another kernel")


def check_file_size(folder):
    """Of many samples: about half, and what `plan` says to the byte."""
    sizes = []
    for store in ("full", "half"):
        path = os.path.join(folder, f"size-{store}.h5")
        words = [*KERNEL[1:], "--reduce", "trace", "--inputs", "many.h5", "--block", "50",
                 "--store", store, "--output", path]
        planned = json.loads(must(folder, "plan", *words, "--json").out)
        must(folder, "kernel", *words)
        sizes.append(os.path.getsize(path))
        expect(planned["file_bytes"] == sizes[-1] and planned["file_is_exact"], f"{planned}")
    expect(0.5 < sizes[1] / sizes[0] < 0.56, f"{sizes[1]} of {sizes[0]} bytes")


def check_refusal(folder):
    for words in (["--range2", "0:9"], ["--inputs2", "data.h5"]):
        ended = run(folder, *WORDS, *words, "--store", "half", "--output", "never.h5")
        expect(ended.code == 2 and "--store half" in ended.err[-1], str(ended))
        expect(not any("never" in name for name in os.listdir(folder)), "something is left")
    ended = run(folder, *WORDS, "--store", "third", "--output", "never.h5")
    expect(ended.code == 2 and "full|half" in ended.err[-1], str(ended))


def cases(folder):
    make_inputs(folder)
    random = np.random.default_rng(6)
    write_data(os.path.join(folder, "many.h5"), inputs=random.normal(size=(1000, 12)))
    for number, (reduction, size) in enumerate(itertools.product(REDUCTIONS, SIZES)):
        yield f"{reduction} {size}", functools.partial(
            compare_sizes, folder, reduction, size, [(1, 6), (3,), (2, 4)][number % 3])
    yield "order", lambda: check_order(folder)
    yield "description", lambda: check_description(folder)
    yield "file size", lambda: check_file_size(folder)
    yield "refusal", lambda: check_refusal(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
