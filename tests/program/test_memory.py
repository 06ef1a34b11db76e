#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 900
"""--memory: what every rank has in memory at its worst (VmHWM) stays under any cap that is not below
the least that the program names; and that least works.

The program says at its end what its ranks needed; of one rank the system's own word is taken too."""
import os
import re
import resource
import subprocess
import sys

from program import (MAX_RANKS, SCANTK, environment, expect, h5py, must, np, read, run, run_cases,
                     write_data)

MiB = 1 << 20
MODELS = {"fcn": ["fcn", "--input", "400", "--width", "512", "--depth", "2", "--outputs", "10"],
          "cnn": ["cnn", "--input", "3x16x16", "--width", "24", "--depth", "3", "--outputs", "6"],
          "heavy": ["fcn", "--input", "400", "--width", "3000", "--depth", "2", "--outputs", "1"],
          "small": ["fcn", "--input", "5", "--width", "4", "--depth", "1", "--outputs", "2"]}
CASES = [  # model, inputs, ranks, options
    ("small", "few.h5", 1, ["--recalibrate"]),
    ("small", "many.h5", 1, ["--reduce", "trace", "--block", "8"]),
    ("small", "many.h5", 2, ["--reduce", "pseudo", "--block", "8"]),
    ("fcn", "flat.h5", 1, ["--block", "20"]),
    ("fcn", "flat.h5", 1, ["--block", "20", "--dtype", "f64", "--range2", "30:200"]),
    ("fcn", "flat.h5", 2, ["--block", "20", "--reduce", "trace"]),
    ("fcn", "flat.h5", 2, ["--block", "40x3", "--dtype", "f64"]),
    ("fcn", "flat.h5", 1, ["--block", "40x4", "--cotangents", "flat.h5:/own"]),
    ("fcn", "flat.h5", 1, ["--block", "130", "--dtype", "f64"]),  # tiles of 13 MB, cut at the edge
    ("fcn", "flat.h5", 2, ["--block", "130", "--range2", "3:190", "--grid", "2x1"]),
    ("fcn", "flat.h5", 1, ["--block", "4", "--algorithm", "jacobian", "--range", "0:16"]),
    ("fcn", "packed.h5", 1, ["--block", "50", "--reduce", "trace"]),
    ("fcn", "packed.h5", 2, ["--block", "50", "--reduce", "trace", "--range2", "10:90"]),
    ("cnn", "images.h5", 1, ["--block", "8"]),
    ("cnn", "images.h5", 2, ["--block", "8", "--dtype", "f64", "--range2", "5:40"]),
    ("cnn", "images.h5", 1, ["--block", "16", "--reduce", "trace", "--dtype", "f64"]),
    ("cnn", "images.h5", 1, ["--block", "4", "--algorithm", "ntvp", "--range", "0:12"]),
    ("heavy", "flat.h5", 1, ["--block", "4", "--range", "0:8", "--reduce", "trace"]),
    ("heavy", "flat.h5", 2, ["--block", "4", "--range", "0:8", "--reduce", "trace"])]


def make_inputs(folder):
    random = np.random.default_rng(11)
    for name, options in MODELS.items():
        must(folder, "model", *options, "--output", name + ".onnx")
    flat = random.normal(size=(200, 400)).astype(np.float32)
    write_data(os.path.join(folder, "flat.h5"), inputs=flat, own=random.normal(size=(200, 10, 10)))
    write_data(os.path.join(folder, "few.h5"), inputs=random.normal(size=(9, 5)))
    write_data(os.path.join(folder, "many.h5"), inputs=random.normal(size=(2400, 5)))
    write_data(os.path.join(folder, "images.h5"), inputs=random.normal(size=(48, 3, 16, 16)))
    with h5py.File(os.path.join(folder, "packed.h5"), "w") as file:
        file.create_dataset("inputs", data=np.concatenate([flat] * 60), chunks=(12000, 400),
                            compression="gzip", compression_opts=1)


def least_memory(folder, words, ranks):
    """What the program names, in MiB."""
    ended = run(folder, *words, "--memory", "1M", ranks=ranks)
    found = re.search(r"use --memory (\d+)M", ended.err[-1] if ended.err else "")
    expect(ended.code == 1 and found, str(ended))
    return int(found[1])


def resident_of_one(folder, words):
    """A run on one rank: its lines, and what the system says it had in memory at its worst. That
    includes what this process has, of which it began as a copy."""
    log = os.path.join(folder, words[words.index("--output") + 1] + ".log")
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen([SCANTK, *words], cwd=folder, env=environment(folder),
                                   stdout=file, stderr=file)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = code
    with open(log, encoding="utf-8") as file:
        lines = file.read().splitlines()
    expect(code == 0, "\n".join(lines))
    return lines, usage.ru_maxrss * 1024


def check_case(folder, number, model, inputs, ranks, options):
    output = f"K{number}.h5"
    words = ["kernel", "--model", model + ".onnx", "--inputs", inputs, "--output", output, *options]
    if inputs == "packed.h5" and "--range" not in options:
        words += ["--range", "0:150"]
    ranks = min(ranks, MAX_RANKS)
    least = least_memory(folder, words, ranks)
    kernels = []
    for cap in (least, least * (13 if number % 2 else 20) // 10):
        limited = [*words, "--memory", f"{cap}M"]
        if ranks == 1:
            lines, resident = resident_of_one(folder, limited)
            ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            expect(resident <= max(cap * MiB, ours),
                   f"{resident / MiB:.1f} MiB resident under a cap of {cap} MiB")
        else:
            lines = must(folder, *limited, ranks=ranks).err
        peak_of(lines, cap)
        kernels.append(read(os.path.join(folder, output), "kernel"))
        os.remove(os.path.join(folder, output))
    expect(all(k.shape == kernels[0].shape and np.isfinite(k).all() for k in kernels), "no kernels")


def peak_of(lines, cap):
    """What the program says its ranks needed, the most and the least, in MiB."""
    found = [re.match(r"memory: peak (\d+)M of (\d+)M per rank \(max over ranks; min (\d+)M\)",
                      line) for line in lines]
    peak, said, low = next(map(int, match.groups()) for match in found if match)
    expect(said == cap, f"the cap is {cap}M, not {said}M")
    expect(16 < low <= peak <= cap, f"peak {low}M to {peak}M, the cap is {cap}M")
    return peak


def check_large(folder):
    """A network of 100 million parameters on four ranks, which hold it once: each rank counts a
    fourth of the 381 MiB that it takes. Right, as far as vectors of two samples and outputs tell."""
    must(folder, "model", "fcn", "--input", "784", "--width", "9600", "--depth", "2", "--outputs",
         "10", "--output", "large.onnx")
    inputs = np.random.default_rng(12).normal(size=(8, 784)).astype(np.float32)
    write_data(os.path.join(folder, "eight.h5"), inputs=inputs)
    words = ["kernel", "--model", "large.onnx", "--inputs", "eight.h5"]
    ranks = min(4, MAX_RANKS)
    lines = must(folder, *words, "--output", "L.h5", "--memory", "2G", "--block", "2",
                 ranks=ranks).err
    peak = peak_of(lines, 2048)
    memory = os.statvfs("/dev/shm")
    if ranks == 4 and memory.f_bavail * memory.f_frsize > 600 * MiB:
        expect(peak < 300, f"{peak}M a rank: the parameters are not held once")
    must(folder, *words, "--output", "V.h5", "--algorithm", "ntvp", "--range", "0:2",
         "--select-outputs", "0,7", "--block", "2x1")
    ours = read(os.path.join(folder, "L.h5"), "kernel")[:2, [0, 7]][:, :, :2, [0, 7]]
    due = read(os.path.join(folder, "V.h5"), "kernel")
    expect(ours.shape == due.shape == (2, 2, 2, 2), f"shapes {ours.shape}, {due.shape}")
    difference = np.abs(ours - due).max() / np.abs(due).max()
    expect(difference < 1e-5, f"the kernels differ by {difference:.1e}")


def check_falling(folder):
    """At a fixed number of samples a rank needs its share of the factors and a constant, which has
    12 MiB for what travels where there are several ranks."""
    inputs = np.random.default_rng(13).normal(size=(1600, 400)).astype(np.float32)
    write_data(os.path.join(folder, "wide.h5"), inputs=inputs)
    peaks, panels = {}, {}
    for ranks in (1, 2, 4):
        if ranks <= MAX_RANKS:
            lines = must(folder, "kernel", "--model", "fcn.onnx", "--inputs", "wide.h5", "--output",
                         f"F{ranks}.h5", "--reduce", "trace", "--block", "25", "--memory", "1G",
                         ranks=ranks).err
            peaks[ranks] = peak_of(lines, 1024)
            panels[ranks] = int(re.search(r"panel (\d+)M", "\n".join(lines))[1])
    for ranks, panel in panels.items():
        expect(panel <= panels[1] // ranks + 1, f"panels {panels}M")
        expect(peaks[ranks] - panel <= peaks[1] - panels[1] + 12, f"{peaks}M for {panels}M")


def cases(folder):
    make_inputs(folder)
    must(folder, "kernel", "--model", "small.onnx", "--inputs", "few.h5", "--output", "rates.h5")
    yield "100 million parameters", lambda: check_large(folder)
    yield "more ranks, less memory", lambda: check_falling(folder)
    for number, case in enumerate(CASES):
        yield (" ".join([*map(str, case[:3]), *case[3]]),
               lambda a=(number, *case): check_case(folder, *a))


if __name__ == "__main__":
    sys.exit(run_cases(cases))
