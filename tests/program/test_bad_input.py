#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 600
"""What cannot be computed: one line that names it, the right exit code, no output, no hang.

Each case runs on one rank and on three."""
import os
import re
import struct
import sys

from program import (MAX_RANKS, check_checksums, expect, h5py, must, np, read, run, run_cases,
                     values_of, write_data)

BASE = {"--model": "fcn.onnx", "--inputs": "data.h5", "--output": "K.h5"}
WEIGHTS = ("hidden0.weight", "hidden1.weight", "head.weight")


def with_nan(model):
    first, _ = values_of(model, "head.weight")
    return model[:first + 8] + struct.pack("<f", float("nan")) + model[first + 12:]


def with_weights_times(model, factor):
    for name in WEIGHTS:
        first, end = values_of(model, name)
        elements = np.frombuffer(model[first:end], "<f4") * np.float32(factor)
        model = model[:first] + elements.astype("<f4").tobytes() + model[end:]
    return model


def make_models(folder):
    must(folder, "model", "fcn", "--input", "12", "--width", "8", "--depth", "2", "--outputs", "5",
         "--output", "fcn.onnx")
    must(folder, "model", "cnn", "--input", "3x4x6", "--width", "4", "--depth", "1", "--outputs",
         "5", "--output", "cnn.onnx")
    must(folder, "model", "cnn", "--input", "1x4x6", "--width", "4", "--depth", "1", "--outputs",
         "5", "--output", "grey.onnx")
    with open(os.path.join(folder, "fcn.onnx"), "rb") as file:
        model = file.read()
    for name, content in [("truncated.onnx", model[:len(model) * 2 // 3]),
                          ("text.onnx", b"This is not a network.\n" * 40),
                          ("empty.onnx", b""),
                          ("operator.onnx", model.replace(b"Relu", b"Rely")),
                          ("nan.onnx", with_nan(model)),
                          ("huge.onnx", with_weights_times(model, 1e12))]:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def make_data(folder):
    random = np.random.default_rng(3)
    inputs = random.normal(size=(40, 12))
    bad = inputs.copy()
    bad[29, 7] = np.nan
    late = inputs.copy()
    late[39] *= 1e22
    infinite = inputs.copy()
    infinite[3, 0] = np.inf
    write_data(os.path.join(folder, "data.h5"), inputs=inputs, nan=bad, infinite=infinite,
               late=late,
               wrong=inputs[:, :7], last=random.normal(size=(9, 4, 6, 3)),
               grey_last=random.normal(size=(9, 6, 4, 1)))
    with open(os.path.join(folder, "data.h5"), "rb") as file:
        content = file.read()
    with open(os.path.join(folder, "truncated.h5"), "wb") as file:
        file.write(content[:len(content) // 2])
    with open(os.path.join(folder, "text.h5"), "w", encoding="utf-8") as file:
        file.write("1,2,3\n" * 100)


def words_of(changes):
    """`kernel` with options replaced, added, or (None) left out; True: a flag."""
    words = ["kernel"]
    for option, value in {**BASE, **changes}.items():
        if value is not None:
            words += [option] if value is True else [option, value]
    return words


def check_refused(folder, words, code, names):
    """One line `scantk: error: ...` that holds all the names, and nothing that looks whole."""
    before = snapshot(folder)
    for ranks in (1, 3) if MAX_RANKS >= 3 else (1,):
        ended = run(folder, *words, "--quiet", ranks=ranks)
        expect(ended.code == code, f"exit is not {code}: {ended}")
        expect(len(ended.err) == 1 and ended.err[0].startswith("scantk: error: "),
               f"not one line `scantk: error: ...`: {ended}")
        for name in names:
            expect(name in ended.err[0], f"'{name}' is not named: {ended}")
        expect(ended.out == "", f"stdout: {ended.out}")
        expect(snapshot(folder) == before, f"files changed: {ended}")


def snapshot(folder):
    """Names and contents of the folder."""
    files = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                files[name] = file.read()
        elif os.access(path, os.R_OK):
            files[name] = sorted(os.listdir(path)) if name != "cache" else None
    return files


REFUSED = [
    # models
    ({"--model": "truncated.onnx"}, 1, ["truncated.onnx"]),
    ({"--model": "text.onnx"}, 1, ["text.onnx", "ONNX"]),
    ({"--model": "empty.onnx"}, 1, ["empty.onnx"]),
    ({"--model": "operator.onnx"}, 1, ["operator.onnx", "Rely"]),
    ({"--model": "nan.onnx"}, 3, ["head.weight"]),
    ({"--model": "absent.onnx"}, 1, ["absent.onnx", "No such file"]),
    ({"--model": "folder"}, 1, ["folder"]),
    ({"--model": "data.h5"}, 1, ["data.h5", "ONNX"]),
    ({"--freeze": "*"}, 2, ["fcn.onnx", "--freeze"]),
    ({"--only": "hiden*"}, 2, ["hiden*"]),
    # data
    ({"--inputs": "absent.h5"}, 1, ["absent.h5", "No such file"]),
    ({"--inputs": "data.h5:/absent"}, 1, ["data.h5", "absent"]),
    ({"--inputs": "truncated.h5"}, 1, ["truncated.h5"]),
    ({"--inputs": "text.h5"}, 1, ["text.h5"]),
    ({"--inputs": "folder"}, 1, ["folder"]),
    ({"--inputs": "data.h5:/wrong"}, 2, ["data.h5", "[7]", "12"]),
    ({"--model": "cnn.onnx", "--inputs": "data.h5:/last"}, 2, ["[4, 6, 3]", "--transpose 2,0,1"]),
    ({"--model": "grey.onnx", "--inputs": "data.h5:/grey_last"}, 2,
     ["[6, 4, 1]", "--transpose 2,1,0"]),
    ({"--inputs": "data.h5:/nan"}, 3, ["data.h5", "sample 29", "NaN"]),
    ({"--inputs": "data.h5:/infinite", "--range": "2:20"}, 3, ["data.h5", "sample 3", "infinity"]),
    ({"--inputs2": "data.h5:/nan"}, 3, ["data.h5", "sample 29"]),
    ({"--inputs2": "absent.h5"}, 1, ["absent.h5"]),
    ({"--inputs2": "data.h5:/wrong"}, 2, ["[7]"]),
    # outputs
    ({"--output": "absent/K.h5"}, 1, ["absent/K.h5", "No such file"]),
    ({"--output": "fcn.onnx/K.h5"}, 1, ["fcn.onnx/K.h5", "Not a directory"]),
    ({"--output": "folder"}, 1, ["folder", "exists"]),
    ({"--output": "data.h5"}, 1, ["data.h5 exists"]),
    ({"--output": "left.h5"}, 1, ["left.h5.part", "remove it"]),
    # options
    ({"--algoritm": "ntvp"}, 2, ["--algoritm", "--algorithm?"]),
    ({"--memery": "1G"}, 2, ["--memery", "--memory?"]),
    ({"--block": "0"}, 2, ["--block", "'0'"]),
    ({"--block": "7x"}, 2, ["--block", "7x"]),
    ({"--block": "7x0"}, 2, ["--block", "7x0"]),
    ({"--block": "seven"}, 2, ["--block", "seven"]),
    ({"--memory": "lots"}, 2, ["--memory", "lots"]),
    ({"--memory": "0"}, 1, ["--memory"]),
    ({"--dtype": "f16"}, 2, ["--dtype", "f16", "f32|f64"]),
    ({"--range": "7"}, 2, ["--range", "'7'"]),
    ({"--range": "9:3"}, 2, ["--range", "9:3"]),
    ({"--range": "30:41"}, 2, ["range 30:41", "40"]),
    ({"--range2": "30:41"}, 2, ["30:41", "data.h5", "40"]),
    ({"--select-outputs": "0,5"}, 2, ["--select-outputs", "5"]),
    ({"--select-outputs": "one"}, 2, ["--select-outputs", "one"]),
    ({"--grid": "9x9"}, 2, ["--grid", "9x9"]),
    ({"--grid": "9"}, 2, ["--grid", "'9'"]),
    ({"--grid": "0x1"}, 2, ["--grid", "0x1"]),
    ({"--model": None}, 2, ["--model"]),
    ({"--inputs": None}, 2, ["--inputs"]),
    ({"--output": None}, 2, ["--output"]),
    ({"--explain=yes": True}, 2, ["--explain"]),
    ({"stray": True}, 2, ["stray"]),
    # plans
    ({"--plan": "f32.plan", "--dtype": "f64"}, 2, ["--dtype", "f64", "f32"]),
    ({"--plan": "f32.plan", "--reduce": "trace"}, 2, ["--reduce", "trace", "none"]),
    ({"--plan": "f32.plan", "--block": "5"}, 2, ["--block", "7x2"]),
    ({"--plan": "f32.plan", "--select-outputs": "0:3"}, 2, ["f32.plan", "5", "3"]),
    ({"--plan": "f32.plan", "--model": "cnn.onnx", "--inputs": "data.h5:/last"}, 2, ["last"]),
    ({"--plan": "f32.plan", "--freeze": "head*"}, 2, ["f32.plan"]),
    ({"--plan": "absent.plan"}, 1, ["absent.plan"]),
    ({"--plan": "text.h5"}, 1, ["text.h5"]),
    ({"--write-plan": "absent/p"}, 1, ["absent/p"]),
    ({"--rates": "text.h5"}, 1, ["text.h5"]),
    # found while computing
    ({"--model": "huge.onnx"}, 3, ["samples 0 and 0"]),
    ({"--model": "huge.onnx", "--block": "4", "--reduce": "trace"}, 3, ["sample"]),
    ({"--model": "huge.onnx", "--algorithm": "ntvp", "--range": "0:8"}, 3, ["sample"]),
]


def check_locked_folder(folder):
    """A folder that may not be written; for root every folder may."""
    locked = os.path.join(folder, "locked")
    os.mkdir(locked)
    os.chmod(locked, 0o555)
    if not os.access(locked, os.W_OK):
        check_refused(folder, words_of({"--output": "locked/K.h5"}), 1,
                      ["locked/K.h5", "Permission denied"])


def check_memory(folder):
    """Too small a cap: the message names the smallest that works, with 1M for what differs from run
    to run, and it does."""
    words = words_of({"--output": "memory.h5"})
    for ranks in (1, 3) if MAX_RANKS >= 3 else (1,):
        ended = run(folder, *words, "--memory", "1M", "--quiet", ranks=ranks)
        expect(ended.code == 1 and len(ended.err) == 1, str(ended))
        least = re.search(r"use --memory (\d+)M", ended.err[0])
        expect(least, str(ended))
        ended = run(folder, *words, "--memory", f"{int(least[1]) - 3}M", "--quiet", ranks=ranks)
        expect(ended.code == 1, f"less than the smallest works: {ended}")
        must(folder, *words, "--memory", least[1] + "M", "--quiet", ranks=ranks)
        expect(np.isfinite(read(os.path.join(folder, "memory.h5"), "kernel")).all(), "not finite")
        os.remove(os.path.join(folder, "memory.h5"))


def check_late_failure(folder):
    """The last sample overflows: what was done before is kept, as an unfinished file."""
    words = words_of({"--inputs": "data.h5:/late", "--block": "4", "--output": "late.h5"})
    for ranks in (1, 3) if MAX_RANKS >= 3 else (1,):
        ended = run(folder, *words, "--quiet", ranks=ranks)
        expect(ended.code == 3 and len(ended.err) == 1, str(ended))
        expect("samples 39 and 39 " in ended.err[0], str(ended))
        expect(not os.path.exists(os.path.join(folder, "late.h5")), "late.h5 looks whole")
        part = os.path.join(folder, "late.h5.part")
        with h5py.File(part, "r") as file:
            done = file["tiles/done"][()]
            expect(file.attrs["complete"] == 0 and done.any() and not done[9, 0, 9, 0], str(done))
        check_checksums(part)
        expect("NOT complete" in must(folder, "info", "late.h5").out, "info says nothing")
        os.remove(part)


def cases(folder):
    make_models(folder)
    make_data(folder)
    os.mkdir(os.path.join(folder, "folder"))
    must(folder, *words_of({"--output": "good.h5", "--block": "7x2", "--write-plan": "f32.plan"}))
    os.rename(os.path.join(folder, "good.h5"), os.path.join(folder, "left.h5.part"))
    yield "memory", lambda: check_in_own(folder, "memory", check_memory)
    yield "late failure", lambda: check_in_own(folder, "late", check_late_failure)
    yield "locked folder", lambda: check_in_own(folder, "locked", check_locked_folder)
    for number, (changes, code, names) in enumerate(REFUSED):
        yield (" ".join(words_of(changes)), lambda a=(number, changes, code, names):
               check_in_own(folder, f"case{a[0]}", lambda own: check_refused(
                   own, words_of(a[1]), a[2], a[3])))


def check_in_own(folder, name, check):
    """In a folder with links to the inputs, so that cases do not see each other's files."""
    own = os.path.join(folder, name)
    os.makedirs(os.path.join(own, "folder"))
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if os.path.isfile(path) or entry == "cache":
            os.symlink(path, os.path.join(own, entry))
    check(own)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
