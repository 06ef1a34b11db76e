#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 4
# timeout: 1800
"""scantk plan, and then the run that it was for: memory, size of the file and grid as planned, the
time beside the predicted one. Machines that are not there; networks without their weights."""
import glob
import json
import os
import re
import subprocess
import sys
import time

from program import (MAX_RANKS, SCANTK, Started, environment, expect, must, np, run, run_cases,
                     write_data)

MiB = 1 << 20
MODELS = {"fcn": ["fcn", "--input", "784", "--width", "512", "--depth", "2", "--outputs", "10"],
          "wide": ["fcn", "--input", "784", "--width", "2048", "--depth", "2", "--outputs", "10"],
          "heavy": ["fcn", "--input", "784", "--width", "5000", "--depth", "3", "--outputs", "1"],
          "cnn": ["cnn", "--input", "3x16x16", "--width", "32", "--depth", "3", "--outputs", "10"]}
CASES = [  # model, inputs, ranks, options: at least 400 MiB each
    ("fcn", "flat", 1, ["--range", "0:1280", "--block", "640"]),
    ("fcn", "flat", 2, ["--range", "0:1000", "--block", "500", "--dtype", "f64"]),
    ("fcn", "flat", 4, ["--range", "0:1280", "--range2", "900:1700", "--block", "560"]),
    ("wide", "flat", 1, ["--reduce", "trace", "--block", "256"]),
    ("wide", "flat", 2, ["--reduce", "trace", "--block", "512x5"]),
    ("wide", "flat", 4, ["--reduce", "diagonal", "--block", "400"]),
    ("wide", "flat", 1, ["--reduce", "trace", "--block", "128", "--memory", "440M", "--passes",
                         "1"]),  # several panels
    ("cnn", "images", 1, ["--reduce", "trace", "--block", "64", "--passes", "2"]),
    ("heavy", "flat", 1, ["--range", "0:1600", "--reduce", "pseudo"]),
    ("cnn", "images", 1, ["--range", "0:500", "--block", "256"]),
    ("cnn", "images", 2, ["--block", "128", "--reduce", "trace"]),
    ("cnn", "images", 4, ["--range", "0:700", "--block", "64", "--dtype", "f64",
                          "--reduce", "trace"])]
TINY = [["--range", "0:50", "--block", "1"], ["--range", "0:9", "--select-outputs", "3,5"],
        ["--range", "3:40", "--range2", "1:20", "--block", "7x3"],
        ["--reduce", "trace", "--block", "8"], ["--reduce", "diagonal", "--range", "0:40"],
        ["--reduce", "pseudo", "--dtype", "f64", "--block", "5", "--range", "0:500"]]
ELSEWHERE = ["--ranks", "1024", "--ranks-per-node", "32", "--memory", "3G", "--range", "0:2000",
             "--block", "48"]


def make_inputs(folder):
    random = np.random.default_rng(5)
    for name, options in MODELS.items():
        must(folder, "model", *options, "--output", name + ".onnx")
    write_data(os.path.join(folder, "flat.h5"), labels=np.arange(2048) % 10,
               inputs=random.normal(size=(2048, 784)).astype(np.float32))
    write_data(os.path.join(folder, "images.h5"), inputs=random.normal(size=(1000, 3, 16, 16)))


def own_folder(folder, name):
    own = os.path.join(folder, name)
    os.mkdir(own)
    return own


def measured_rates(own, *words):
    """Options with which plans and kernels go by the same rates: each run measures a little more."""
    must(own, "plan", *words)
    path, = glob.glob(os.path.join(own, "cache", "rates-*"))
    return ["--rates", path]


def inputs_of(model, data):
    return ["--model", f"../{model}.onnx", "--inputs", f"../{data}.h5"]


def plan(folder, *words, code=0):
    ended = run(folder, "plan", *words, "--json")
    expect(ended.code == code, str(ended))
    return json.loads(ended.out), ended


def found(lines, pattern):
    matches = [re.search(pattern, line) for line in lines]
    return [float(value) for value in next(match for match in matches if match).groups()]


def check_run(folder, name, model, data, ranks, options):
    own, ranks = own_folder(folder, name), min(ranks, MAX_RANKS)
    words = [*inputs_of(model, data), *options]
    words += measured_rates(own, *words)
    planned, _ = plan(own, *words, "--ranks", str(ranks))
    ended = Started(own, "kernel", *words, "--output", "K.h5", ranks=ranks).end(600)
    expect(ended.code == 0, str(ended))
    lines = ended.err
    grid = found(lines, r"plan +grid (\d+) x (\d+) x (\d+),")
    expect(planned["grid"] == grid, f"grid {grid}, planned {planned['grid']}")
    size = os.path.getsize(os.path.join(own, "K.h5"))
    expect(planned["file_is_exact"] and planned["file_bytes"] == size,
           f"file of {size} bytes, planned {planned['file_bytes']}")
    os.remove(os.path.join(own, "K.h5"))
    return planned, lines


def check_large(folder, number, *case):
    planned, lines = check_run(folder, f"large{number}", *case)
    terms = planned["memory"]
    peak, = found(lines, r"^memory: peak (\d+)M")
    share = terms["total"] / (peak * MiB)
    phases = {name: found(lines, rf"^{name} +\S+ +\S+ +(\S+)")[0]
              for name in ("sweeps", "exchange", "contraction", "write", "read data")}
    whole, = found(lines, r"^whole +(\S+)")
    predicted = planned["seconds"]
    print(f"{case}: {peak:.0f} MiB, planned {100 * share:.0f} %; {whole:.2f} s, planned "
          f"{100 * predicted['total'] / whole:.0f} %; {phases}, planned {predicted}; "
          f"{ {name: terms[name] // MiB for name in terms} }", flush=True)
    expect(peak >= 400, f"{peak} MiB are too few to tell")
    expect(1 <= share <= 1.15, f"{peak} MiB in use, planned {terms['total'] / MiB:.1f}: {terms}")


def check_elsewhere(folder):
    own = own_folder(folder, "elsewhere")
    words = [*inputs_of("wide", "flat"), *ELSEWHERE]
    words += measured_rates(own, *words)
    chosen, _ = plan(own, *words)
    ranks, grid = chosen["ranks"], chosen["grid"]
    expect(ranks == 1024 and np.prod(grid) <= ranks and chosen["balance"] > 0, str(chosen))
    words += ["--grid", "x".join(map(str, grid))]
    start = time.monotonic()
    slow, _ = plan(own, *words, "--gemm", "50", "--network", "12.5", "--disk", "5")
    expect(time.monotonic() - start < 5, "a plan takes 5 s")
    fast, _ = plan(own, *words, "--gemm", "100", "--network", "12.5", "--disk", "5")
    for name in ("contraction", "sweeps"):
        expect(abs(slow["seconds"][name] / fast["seconds"][name] - 2) < 1e-6,
               f"twice the rate, not half the time: {name}")
    for name in ("grid", "block", "panel", "file_bytes", "flops", "sent_bytes"):
        expect(slow[name] == fast[name], f"{name} depends on the rate")
    wide, _ = plan(own, *words, "--gemm", "50", "--network", "25")
    expect(abs(slow["seconds"]["exchange"] / wide["seconds"]["exchange"] - 2) < 1e-6,
           "twice the network, not half the time")
    expect(fast["columns"] == "send", f"{fast['columns']}: the network is fast")
    crawling, _ = plan(own, *words, "--gemm", "1000", "--network", "0.01")
    expect(crawling["columns"] == "recompute" and
           crawling["sent_bytes"] < 0.5 * fast["sent_bytes"], f"{crawling} for a slow network")
    disk, _ = plan(own, *words, "--gemm", "50", "--disk", "0.01")
    expect(disk["seconds"]["writing"] >= 2000 ** 2 * 100 * 4 / 1e7, "faster than the disk")


def check_balance(folder):
    """Few blocks: the --block that is named does what is said of it; for seconds nothing is said."""
    own = own_folder(folder, "balance")
    words = [*inputs_of("fcn", "flat"), "--block", "512", "--grid", "2x3", "--ranks", "6"]
    _, quick = plan(own, *words, "--gemm", "100000")
    expect(not any("--block" in line for line in quick.err), str(quick))
    words += ["--gemm", "1"]
    first, ended = plan(own, *words)
    block, mended = first["mending_block"], first["mended_balance"]
    expect(block > 0 and mended > first["balance"], str(first))
    expect(any(f"--block {block}" in line for line in ended.err), str(ended))
    words[words.index("512")] = str(block)
    second, _ = plan(own, *words)
    expect(abs(second["balance"] - mended) < 1e-5, f"balance {second['balance']}, not {mended}")


def check_cap(folder):
    """Where it does not fit, the memory that is named is enough."""
    own = own_folder(folder, "cap")
    words = [*inputs_of("wide", "flat"), "--block", "512", "--memory"]
    small, ended = plan(own, *words, "130M", code=1)
    expect(not small["fits"] and "at least" in ended.err[-1], str(ended))
    least = int(re.search(r"at least (\d+)M", ended.err[-1])[1])
    expect(small["memory"]["least"] < least * MiB, str(small))
    for mib in range(least - 4, least):  # refused just where that very plan needs more
        ended = run(own, "plan", "--json", *words, f"{mib}M")
        told = json.loads(ended.out)
        fits = told["memory"]["least"] <= mib * MiB
        expect(told["fits"] == fits and (ended.code == 0) == fits, f"{mib}M: {ended}")
        expect(mib >= least - 2 or not fits, f"{mib}M does, {least}M was named")
    large, _ = plan(own, *words, f"{least}M")
    expect(large["fits"] and large["memory"]["total"] <= least * MiB, str(large))


def check_limit(folder):
    """A job that ends too soon; one that does not."""
    own = own_folder(folder, "limit")
    words = [*inputs_of("wide", "flat"), "--gemm", "1", "--ranks", "1"]
    for seconds, warned in ((60, True), (10 ** 7, False)):
        job = dict(environment(own), SLURM_JOB_END_TIME=str(int(time.time()) + seconds))
        ended = subprocess.run([SCANTK, "plan", *words], cwd=own, env=job, text=True, check=True,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL)
        expect(("the job ends in" in ended.stderr) == warned, ended.stderr)


def check_absent(folder):
    """A network whose weights are in a file that is not there is planned as one that has them."""
    own = own_folder(folder, "absent")
    try:
        import onnx
    except ImportError:
        print("skipped: no onnx to part weights from their network with")
        return
    path = os.path.join(own, "parted.onnx")
    onnx.save_model(onnx.load(os.path.join(folder, "cnn.onnx")), path, save_as_external_data=True,
                    location="weights.bin", size_threshold=16)
    words = ["--model", "parted.onnx", "--inputs", "../images.h5"]
    whole, _ = plan(own, *words)
    os.remove(os.path.join(own, "weights.bin"))
    parted, _ = plan(own, *words)
    for name in ("grid", "block", "tiles", "flops", "file_bytes"):
        expect(whole[name] == parted[name], f"{name}: {parted[name]}, with weights {whole[name]}")
    for name in ("panel", "columns", "sweeps", "tiles"):
        expect(whole["memory"][name] == parted["memory"][name], f"memory of {name}")
    ended = run(own, "kernel", *words, "--output", "K.h5")
    expect(ended.code == 1 and "weights.bin" in ended.err[-1], str(ended))


def cases(folder):
    make_inputs(folder)
    for number, case in enumerate(CASES):
        yield (" ".join([*map(str, case[:3]), *case[3]]),
               lambda a=(number, *case): check_large(folder, *a))
    for number, options in enumerate(TINY):
        yield (" ".join(options), lambda a=(f"tiny{number}", "fcn", "flat", 1 + number % 2, options):
               check_run(folder, *a))
    for check in (check_elsewhere, check_balance, check_cap, check_limit, check_absent):
        yield check.__name__, lambda check=check: check(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
