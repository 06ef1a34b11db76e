#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""Too little space: told before any work, or by the tile that found none; reserved, it suffices.
A small tmpfs is mounted; skipped where that is not allowed."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from program import (MAX_RANKS, Failure, Started, check_checksums, expect, h5py, must, np, run,
                     write_data)

WORDS = ["kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--output", "small/K.h5", "--quiet"]
SLOW = [*WORDS, "--range", "0:80", "--block", "8", "--algorithm", "jacobian"]
SIZE = 8 << 20
RANKS = min(2, MAX_RANKS)


def make_inputs(folder):
    must(folder, "model", "fcn", "--input", "32", "--width", "512", "--depth", "3", "--outputs",
         "10", "--output", "fcn.onnx")
    random = np.random.default_rng(8)
    write_data(os.path.join(folder, "data.h5"), inputs=random.normal(size=(1000, 32)))


def left_in(folder):
    return sorted(os.listdir(os.path.join(folder, "small")))


def check_refusal(folder):
    """160 samples: 10 MB of 8; half of them fit."""
    words = [*WORDS, "--range", "0:160", "--block", "10", "--log-json", "log.jsonl"]
    ended = run(folder, *words, ranks=RANKS)
    message = ended.err[-1]
    expect(ended.code == 1 and len(ended.err) == 1, str(ended))
    expect(all(part in message for part in ("small/K.h5", "--reduce", "--store half", "GiB free")),
           str(ended))
    expect(left_in(folder) == [], f"left: {left_in(folder)}")
    must(folder, *words, "--store", "half", ranks=RANKS)
    with open(os.path.join(folder, "log.jsonl"), encoding="utf-8") as file:
        header = next(line for line in map(json.loads, file) if line["event"] == "header")
    size = os.path.getsize(os.path.join(folder, "small/K.h5"))
    expect(header["file_system"] == "tmpfs" and header["free_bytes"] <= SIZE, str(header))
    expect(5e6 < size < 6e6 and abs(header["file_bytes"] - size) < 1 << 17, f"{size}, {header}")


def start_and_fill(folder, *words):
    """The run, once its file is there and the rest of the space is taken."""
    started = Started(folder, *SLOW, *words, ranks=RANKS)
    part = os.path.join(folder, "small/K.h5.part")
    deadline = time.monotonic() + 60
    while not os.path.exists(part):
        if time.monotonic() > deadline or started.process.poll() is not None:
            raise Failure(f"no {part}: {started.end()}")
        time.sleep(0.005)
    taken = os.stat(part).st_blocks * 512
    with open(os.path.join(folder, "small/ballast"), "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return started, taken


def check_full_disk(folder):
    """One line that names the tile and why; what was finished stays, and is right."""
    started, taken = start_and_fill(folder)
    ended = started.end()
    os.remove(os.path.join(folder, "small/ballast"))
    expect(taken < SIZE / 4, f"{taken} bytes taken without --reserve")
    rank = r"\[rank \d, \S+\] " if RANKS > 1 else ""
    ours = [line for line in ended.err if not line.startswith("mca_")]  # Open MPI's own
    expect(ended.code == 1 and len(ours) == 1 and re.fullmatch(
        rf"scantk: error: {rank}small/K.h5: write failed: No space left on device \((tile .+|outputs|digests)\)",
        ours[0]), str(ended))
    if left_in(folder) == ["K.h5.part"]:  # nothing was finished: nothing is left
        check_checksums(os.path.join(folder, "small/K.h5.part"))
    expect(left_in(folder) in ([], ["K.h5.part"]), f"left: {left_in(folder)}")


def check_reserved(folder):
    started, taken = start_and_fill(folder, "--reserve")
    ended = started.end()
    with h5py.File(os.path.join(folder, "small/K.h5")) as file:
        bytes_of_tiles = file["kernel"].nbytes
    expect(ended.code == 0 and not ended.err, str(ended))
    expect(taken >= bytes_of_tiles, f"{taken} bytes taken of {bytes_of_tiles}")
    check_checksums(os.path.join(folder, "small/K.h5"))


def empty(folder):
    for name in left_in(folder):
        os.remove(os.path.join(folder, "small", name))


def run_on(folder):
    failures = 0
    for check in (check_refusal, check_full_disk, check_reserved):
        try:
            check(folder)
        except (Failure, OSError, KeyError, ValueError) as problem:
            failures += 1
            print(f"FAIL {check.__name__}: {problem}")
        empty(folder)
    return failures


def main():
    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "small")
        os.makedirs(small)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", small]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            print("skipped: no tmpfs may be mounted: " + mounted.stderr.strip())
            return 77
        try:
            make_inputs(folder)
            return 1 if run_on(folder) else 0
        finally:
            subprocess.run(["umount", small], check=True)


if __name__ == "__main__":
    sys.exit(main())
