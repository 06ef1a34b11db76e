#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
# timeout: 600
"""kernel --sweep: each row's kernel is that of a run of its own, whatever the groups; a row that
fails is told by its line, the others finish; --resume goes on with what is left."""
import os
import re
import signal
import sys
import time

from program import Started, check_checksums, expect, must, np, read, run, run_cases, write_data

ROWS = 5


def at(folder, name):
    return os.path.join(folder, name)


def make(folder):
    for seed in (1, 2):
        must(folder, "model", "fcn", "--input", "8", "--width", "16", "--depth", "2", "--outputs",
             "3", "--seed", str(seed), "-o", f"m{seed}.onnx")
    write_data(at(folder, "data.h5"), inputs=np.random.default_rng(3).standard_normal((40, 8)))
    shapes = {"hidden0.weight": (16, 8), "hidden0.bias": 16, "hidden1.weight": (16, 16),
              "hidden1.bias": 16, "head.weight": (3, 16), "head.bias": 3}
    for i in range(3):
        values = np.random.default_rng(i)
        np.savez(at(folder, f"it's {i}.npz".replace(" ", "")),
                 **{k: values.standard_normal(s) for k, s in shapes.items()})
    must(folder, "kernel", "--model", "m1.onnx", "--inputs", "data.h5", "--block", "8",
         "--output", "due-0.h5", "--write-plan", "plan", "--quiet")
    for i, (model, parameters) in enumerate(rows()):
        words = [] if parameters == "-" else ["--parameters", parameters]
        if i > 0:
            must(folder, "kernel", "--model", model, "--inputs", "data.h5", "--plan", "plan",
                 "--output", f"due-{i}.h5", "--quiet", *words)


def rows():
    return [("m1.onnx", "-"), ("m2.onnx", "-"), *(("m1.onnx", f"it's{i}.npz") for i in range(3))]


def write_list(folder, name, lines):
    with open(at(folder, name), "w", encoding="utf-8") as file:
        file.write("# model parameters output\n\n" + "\n".join(lines) + "\n")


def list_of(folder, name):
    write_list(folder, name, [f"{model}\t{parameters}  {name}-{i}.h5"
                              for i, (model, parameters) in enumerate(rows())])


def words_of(name, *more):
    return ["kernel", "--sweep", name, "--inputs", "data.h5", "--plan", "plan", *more]


def check_rows(folder, name, wanted=range(ROWS)):
    for i in wanted:
        due, found = read(at(folder, f"due-{i}.h5"), "kernel"), at(folder, f"{name}-{i}.h5")
        expect((read(found, "kernel") == due).all(), f"{found}: another kernel")
        check_checksums(found)


def told(ended, name, ranks):
    """The lines of the rows, by their numbers, and the one of the whole, which is the last; but
    mpirun mixes what several ranks write as it likes."""
    lines = [line for line in ended.err if re.search(f"{name}:\\d+: ", line)]
    others = [line for line in ended.err if line not in lines]
    expect(len(others) == 1 and (ranks > 1 or ended.err[-1] == others[0]), str(ended))
    return sorted(lines), others[0]


def check_sweep(folder, ranks, each):
    name = f"list-{ranks}-{each}"
    list_of(folder, name)
    words = words_of(name, *(["--ranks-per-kernel", str(each)] if each else []))
    ended = must(folder, *words, ranks=ranks)
    lines, last = told(ended, name, ranks)
    expect(len(lines) == ROWS and all(f"{name}:{i + 3}: {name}-{i}.h5 is done" in line
                                      for i, line in enumerate(lines)), str(ended))
    expect(last == f"scantk: {name}: {ROWS} of {ROWS} kernels done", str(ended))
    check_rows(folder, name)
    again = run(folder, *words, "--quiet", ranks=ranks)
    lines, last = told(again, name, ranks)
    expect(again.code == 1 and len(lines) == ROWS and all("exists" in line for line in lines) and
           f"{ROWS} of {ROWS} kernels failed" in last, str(again))
    resumed = must(folder, *words, "--quiet", "--resume", ranks=ranks)
    expect(not resumed.err, str(resumed))
    check_rows(folder, name)


def check_failures(folder, ranks):
    name = f"bad-{ranks}"
    lines = [f"{m} {p} {name}-{i}.h5" for i, (m, p) in enumerate(rows())]
    lines[1] = f"none.onnx - {name}-1.h5"
    lines[3] = f"m1.onnx data.h5 {name}-3.h5"
    write_list(folder, name, lines)
    ended = run(folder, *words_of(name, "--ranks-per-kernel", "1", "--quiet"), ranks=ranks)
    rows_told, last = told(ended, name, ranks)
    expect(ended.code == 1 and len(rows_told) == 2 and
           f"error: {name}:4: none.onnx" in rows_told[0] and
           re.search(rf"error: {name}:6: .*data.h5: .*'inputs'", rows_told[1]) and
           f"{name}: 2 of 5 kernels failed" in last, str(ended))
    check_rows(folder, name, (0, 2, 4))
    expect(not os.path.exists(at(folder, f"{name}-1.h5")), "a failed row has an output")


def check_usage(folder):
    list_of(folder, "list")
    write_list(folder, "short", ["m1.onnx out.h5"])
    write_list(folder, "twice", ["m1.onnx - out.h5", "m2.onnx - out.h5"])
    cases = [(words_of("list", "--model", "m1.onnx"), 2, "--model stands in the rows"),
             (words_of("list", "--parameters", "p.npz"), 2, "--parameters stands in the rows"),
             (words_of("list", "--log-json", "log"), 2, "--log-json is for one kernel"),
             (words_of("list", "--ranks-per-kernel", "7"), 2, "there are 1"),
             (words_of("short"), 2, "short:3: a row is MODEL PARAMETERS OUTPUT, not 2 words"),
             (words_of("twice"), 2, "twice:4: has the output of line 3"),
             (words_of("none"), 1, "none: cannot be read"),
             (words_of("list", "--max-time", "soon"), 2, "--max-time"),
             (["kernel", "--sweep", "list"], 2, "--inputs is missing"),
             (["kernel", "--model", "m1.onnx", "--inputs", "data.h5", "--output", "never.h5",
               "--ranks-per-kernel", "1"], 2, "--ranks-per-kernel goes with --sweep"),
             (["plan", "--model", "m1.onnx", "--inputs", "data.h5", "--sweep", "list"], 2,
              "options of kernel")]
    for words, code, text in cases:
        ended = run(folder, *words)
        expect(ended.code == code and len(ended.err) == 1 and text in ended.err[0], str(ended))
    write_list(folder, "empty", [])
    must(folder, *words_of("empty"))


def check_stopped(folder, ranks, stop):
    """By a signal, or by a file that all groups see; afterwards the rest."""
    name = f"stop-{ranks}-{stop}"
    list_of(folder, name)
    words = words_of(name, "--ranks-per-kernel", "1", "--quiet")
    if stop == "file":
        with open(at(folder, name + ".stop"), "w", encoding="utf-8"):
            pass
        ended = run(folder, *words, ranks=ranks)
        expect(not os.path.exists(at(folder, name + ".stop")), "the file is still there")
    else:
        started = Started(folder, *words[:-1], ranks=ranks)
        while started.process.poll() is None and not os.path.exists(at(folder, f"{name}-0.h5")):
            time.sleep(0.005)
        started.send(signal.SIGUSR1)
        ended = started.end()
        if ended.code == 0:
            return  # too fast for the signal
    expect(ended.code == 75, str(ended))
    _, last = told(ended, name, ranks)
    expect(re.search(r"stopped at \d of 5 kernels; continue with: .*--resume", last), str(ended))
    must(folder, *words, "--resume", ranks=ranks)
    check_rows(folder, name)


def cases(folder):
    make(folder)
    for ranks, each in ((1, 1), (3, 1), (3, 2), (3, None)):
        yield f"{ranks} ranks by {each}", lambda r=ranks, e=each: check_sweep(folder, r, e)
    yield "failures, 1", lambda: check_failures(folder, 1)
    yield "failures, 3", lambda: check_failures(folder, 3)
    yield "usage", lambda: check_usage(folder)
    for ranks in (1, 3):
        for stop in ("file", "signal"):
            yield f"{stop}, {ranks}", lambda r=ranks, s=stop: check_stopped(folder, r, s)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
