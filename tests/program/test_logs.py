#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""The log, in words and as --log-json: how it opens, what it counts, how it ends."""
import datetime
import json
import os
import re
import signal
import sys
import time

from program import MAX_RANKS, Started, expect, must, np, read, run, run_cases, write_data

KERNEL = ["kernel", "--model", "fcn.onnx", "--block", "8x2"]
WORDS = [*KERNEL, "--inputs", "data.h5"]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def make_inputs(folder):
    must(folder, "model", "fcn", "--input", "12", "--width", "16", "--depth", "2", "--outputs", "5",
         "--output", "fcn.onnx")
    must(folder, "model", "fcn", "--input", "12", "--width", "512", "--depth", "3", "--outputs",
         "10", "--output", "wide.onnx")
    random = np.random.default_rng(7)
    write_data(os.path.join(folder, "data.h5"), inputs=random.normal(size=(40, 12)),
               nan=np.full((9, 12), np.nan), many=random.normal(size=(4000, 12)))


def is_now(stamp):
    then = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")
    return abs(datetime.datetime.utcnow() - then).total_seconds() < 100


def read_log(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    expect(all(is_now(line["time"]) for line in lines), f"{name}: times are wrong")
    return lines


def check_opening(folder):
    """In words: each fact once, before the table of phases."""
    version = must(folder, "--version").out.split(" ", 1)[1].strip()
    ended = must(folder, *WORDS, "--output", "words.h5", "--memory", "300M", ranks=min(2, MAX_RANKS),
                 variables={"SLURM_JOB_ID": "4711", "OMP_NUM_THREADS": "2"})
    log = "\n".join(ended.err)
    for line in (rf"scantk  {re.escape(version)}, {STAMP}, job 4711",
                 r"command \S*scantk kernel --model fcn.onnx .* --memory 300M",
                 r"ranks   \d on \S+ x\d, 2 threads each, \d+ cores? allowed \([\d,-]+\), .+",
                 r"model   fcn.onnx: \d+ parameters in 6 tensors, 5 outputs",
                 r"kernel  40 x 40 samples \(x2 = x1\), 5 outputs, reduction none, f32, .+",
                 r"plan    grid \dx?.+ blocks of 8 samples x 2 outputs, .+",
                 r"memory  \d+M of 300M a rank \(--memory\): parameters .+",
                 r"output  words.h5, 0\.000\d+ GiB on \S+ with \S+ GiB free"):
        expect(len(re.findall(f"^{line}$", log, re.MULTILINE)) == 1, f"no '{line}' in\n{log}")
    expect(is_now(re.search(STAMP, log)[0]) and log.index("output  ") < log.index("phase  "), log)


def check_records(folder, ranks):
    name = f"{ranks}.jsonl"
    must(folder, *WORDS, "--output", f"{ranks}.h5", "--store", "half", "--log-json", name, "--quiet",
         ranks=ranks, variables={"SLURM_JOB_ID": "17"})
    log = read_log(folder, name)
    expect([line["event"] for line in log if line["event"] not in ("progress", "warning")] ==
           ["header", "phases", "end"] and log[0]["event"] == "header", str(log))
    header, phases, end = (next(line for line in log if line["event"] == event)
                           for event in ("header", "phases", "end"))
    path = os.path.join(folder, f"{ranks}.h5")
    for key, due in {"ranks": ranks, "threads": 1, "job": "17", "samples": [40, 40], "outputs": 5,
                     "symmetric": True, "reduction": "none", "dtype": "f32", "block": [8, 2],
                     "store": "half", "output": f"{ranks}.h5",
                     "tiles": len(read(path, "half/row")), "model": "fcn.onnx"}.items():
        expect(header[key] == due, f"{key}: {header[key]}, not {due}")
    expect(abs(header["file_bytes"] - os.path.getsize(path)) < 1 << 17, str(header))
    expect(header["command"].endswith(f"--log-json {name} --quiet"), header["command"])
    expect(f"scantk {header['version']}\n" == must(folder, "--version").out, header["version"])
    expect(header["free_bytes"] > 0 and re.fullmatch(r"\w[\w.-]*", header["file_system"]),
           str(header))
    expect(header["memory"]["cap"] > sum(v for k, v in header["memory"].items()
                                         if k not in ("cap", "bound_by")), str(header["memory"]))
    expect(set(header["predicted"]) == {"sweeps", "contraction", "write"}, str(header))
    for low, mean, high in phases["seconds"].values():
        expect(0 <= low <= mean * 1.0001 and mean <= high * 1.0001, str(phases))
    expect(phases["whole"] > 0 and phases["gemm_gflops"] > 0, str(phases))
    expect((end["code"], end["text"]) == (0, ""), str(end))


def check_progress(folder):
    """Of a run of many tiles that is stopped: few lines, growing; the end says why. The next run
    appends."""
    words = ["kernel", "--model", "wide.onnx", "--inputs", "data.h5:/many", "--block", "20",
             "--quiet", "--log-json", "progress.jsonl"]
    started = Started(folder, *words, "--output", "progress.h5", ranks=min(2, MAX_RANKS))
    path = os.path.join(folder, "progress.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.2)
        done = [line["fraction"] for line in lines_so_far(path) if line["event"] == "progress"]
        if len(done) > 1 and done[-1] > 0:
            break
    started.send(signal.SIGUSR1)
    ended = started.end()
    log = read_log(folder, "progress.jsonl")
    done = [line["fraction"] for line in log if line["event"] == "progress"]
    expect(ended.code == 75 and 2 <= len(done) <= 16, f"{ended}\n{done}")
    expect(done == sorted(done) and 0 < done[-1] < 1, str(done))
    end = log[-1]
    expect(end["event"] == "end" and end["code"] == 75 and "stopped" in end["text"], str(end))
    must(folder, *WORDS, "--quiet", "--log-json", "progress.jsonl", "--output", "next.h5")
    events = [line["event"] for line in read_log(folder, "progress.jsonl")]
    expect(events[:len(log)] == [line["event"] for line in log] and events.count("header") == 2 and
           events[-1] == "end", str(events))


def lines_so_far(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def check_errors(folder, ranks):
    name = f"error-{ranks}.jsonl"
    ended = run(folder, *KERNEL, "--inputs", "data.h5:/nan", "--output", "never.h5", "--log-json",
                name, ranks=ranks)
    end = read_log(folder, name)[-1]
    expect(ended.code == 3 and end["event"] == "end" and end["code"] == 3, str(end))
    expect("NaN" in end["text"] and ended.err[-1] == "scantk: error: " + end["text"], str(end))
    ended = run(folder, *WORDS, "--output", "never.h5", "--log-json", "no/such.jsonl", ranks=ranks)
    expect(ended.code == 1 and ended.err == [
        "scantk: error: no/such.jsonl: cannot be written: No such file or directory"], str(ended))
    expect(not os.path.exists(os.path.join(folder, "never.h5")), "an output is left")


def cases(folder):
    make_inputs(folder)
    yield "opening", lambda: check_opening(folder)
    yield "progress", lambda: check_progress(folder)
    for ranks in (1, 3):
        if ranks <= MAX_RANKS:
            yield f"records of {ranks}", lambda ranks=ranks: check_records(folder, ranks)
            yield f"errors of {ranks}", lambda ranks=ranks: check_errors(folder, ranks)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
