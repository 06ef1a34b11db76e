#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""The commands of README.md, "From a data set to test accuracy", as they stand there, on fewer and
smaller images. scripts/quickstart has the same ones."""
import gzip
import importlib.util
import os
import re
import shlex
import struct
import subprocess
import sys

from program import MAX_RANKS, expect, must, np, read, run_cases

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SECTION = "From a data set to test accuracy"
SIZES = {"5000": "120", "2000": "60", "1024": "32"}


def commands(text):
    """Those behind a "$", continued lines in one."""
    section = text.split(f"\n## {SECTION}\n")[1].split("\n## ")[0].replace("\\\n", " ")
    return [line[6:] for line in section.splitlines() if line.startswith("    $ ")]


def make_images(folder, name, count, seed):
    """IDX files of ten classes, each a pattern of its own beneath noise."""
    patterns = np.random.default_rng(1).integers(0, 200, (10, 28, 28))
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, 10, count)
    images = patterns[labels] + numbers.integers(0, 56, (count, 28, 28))
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        with gzip.open(os.path.join(folder, f"{name}-{kind}-ubyte.gz"), "wb") as file:
            file.write(struct.pack(f">i{values.ndim}i", 0x800 + values.ndim, *values.shape))
            file.write(values.astype("u1").tobytes())


def draw(folder, words):
    if not importlib.util.find_spec("matplotlib"):
        return
    ended = subprocess.run([sys.executable, os.path.join(ROOT, words[0]), *words[1:]], cwd=folder,
                           capture_output=True, text=True, check=False)
    expect(ended.returncode == 0, f"{words}: {ended.stderr}")
    expect(os.path.getsize(os.path.join(folder, words[-1])) > 5000, f"{words}: no picture")


def check_commands(folder):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        lines = commands(file.read())
    expect(len(lines) >= 6, f"README.md: {lines}")
    for line in lines:
        for due, here in SIZES.items():
            line = re.sub(rf"\b{due}\b", here, line)
        words = shlex.split(line)
        ranks = min(int(words[2]), MAX_RANKS) if words[0] == "mpirun" else 1
        words = words[3:] if words[0] == "mpirun" else words
        if words[0] == "scripts/plot":
            draw(folder, words)
        else:
            expect(words[0] == "scantk", line)
            out = must(folder, *words[1:], ranks=ranks).out
            expect(words[1] != "solve" or "accuracy" in out, out)
    labels, found = (read(os.path.join(folder, name), what) for name, what in
                     (("test-kernel.h5", "labels1"), ("solution.h5", "test_predictions")))
    expect((found.reshape(-1, 60, 10).argmax(2) == labels).mean() > 0.9, "no accuracy")


def check_quickstart():
    """The same commands there."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        lines = commands(file.read())
    with open(os.path.join(ROOT, "scripts/quickstart"), encoding="utf-8") as file:
        script = " ".join(re.sub(r"\\+\n|\$data/|\"", " ", file.read()).split())
    for line in lines:
        if not line.startswith(("scripts/", "scantk spectrum")):
            expect(" ".join(line.split()) in script, f"scripts/quickstart lacks: {line}")


def cases(folder):
    make_images(folder, "train", 150, 2)
    make_images(folder, "t10k", 80, 3)
    yield "commands", lambda: check_commands(folder)
    yield "quickstart", check_quickstart


if __name__ == "__main__":
    sys.exit(run_cases(cases))
