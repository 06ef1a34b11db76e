#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
# timeout: 1200
"""Kernels of the program against tests/golden/references.h5 (made by functorch).

    SCANTK=build/bin/scantk tests/golden/test_golden.py [--all | NETWORK...]

Every network, each algorithm, each reduction, for x2 = x1 and x1 != x2, f64 and f32: with --all, or
for named networks, all combinations, else those that CI has time for. Where
MPIEXEC_EXECUTABLE is set the full kernels by `auto` are also computed on several ranks
(SCANTK_TEST_MAX_RANKS, 3 by default). Prints the largest error per network and algorithm;
needs h5py, exits 77 without."""
import concurrent.futures
import itertools
import os
import shlex
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCES = os.path.join(HERE, "references.h5")
SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
ALGORITHMS = ("auto", "structured", "jacobian", "ntvp")
REDUCTIONS = ("none", "trace", "diagonal", "pseudo")
TOLERANCE = {"f64": 1e-10, "f32": 1e-5}
OUTPUT_TOLERANCE = {"f64": 1e-12, "f32": 1e-4}


def reduced(kernel, reduction):
    """[N1, O, N2, O] to what the program stores."""
    if reduction == "trace":
        return np.einsum("nomo->nm", kernel) / kernel.shape[1]
    if reduction == "diagonal":
        return np.einsum("nomo->onm", kernel)
    if reduction == "pseudo":
        return kernel.sum((1, 3)) / kernel.shape[1]
    return kernel


def launcher(ranks):
    if ranks == 1:
        return []
    flags = shlex.split(os.environ.get("MPIEXEC_PREFLAGS", ""))
    return [os.environ["MPIEXEC_EXECUTABLE"], "-n", str(ranks), *flags]


def environment(folder):
    """Each run has a folder of Open MPI of its own, which removes it at the end."""
    return dict(os.environ, SCANTK_CACHE=os.path.join(folder, "cache"), OMP_NUM_THREADS="1",
                OPENBLAS_NUM_THREADS="1", OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=folder),
                OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def error_of(found, expected):
    if found.shape != expected.shape:
        return np.inf
    error = np.abs(found - expected).max() / np.abs(expected).max()
    return error if np.isfinite(error) else np.inf


def run(case, folder):
    """The case's error; infinite, with a message, where the program fails."""
    name, second, dtype, algorithm, reduction, ranks = case
    output = os.path.join(folder, "-".join(map(str, case)) + ".h5")
    command = launcher(ranks) + [
        SCANTK, "kernel", "--model", os.path.join(HERE, name + ".onnx"),
        "--inputs", f"{REFERENCES}:/{name}/inputs", "--output", output, "--dtype", dtype,
        "--algorithm", algorithm, "--reduce", reduction, "--quiet"]
    if second:
        command += ["--inputs2", f"{REFERENCES}:/{name}/inputs2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                          env=environment(folder))
    if done.returncode != 0:
        return np.inf, f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
    with h5py.File(REFERENCES, "r") as file, h5py.File(output, "r") as result:
        group, suffix = file[name], "2" if second else ""
        error = error_of(result["kernel"][()], reduced(group["kernel" + suffix][()], reduction))
        outputs = max(error_of(result["outputs1"][()], group["outputs"][()]),
                      error_of(result["outputs2"][()], group["outputs" + suffix][()]))
    os.remove(output)
    if outputs > OUTPUT_TOLERANCE[dtype]:
        return np.inf, f"the network's outputs differ by {outputs:.1e}"
    return error, ""


def cases(names, whole):
    """Not the whole product, which test_engine has: reductions take turns with x2 and types."""
    ranks = min(3, int(os.environ.get("SCANTK_TEST_MAX_RANKS", "3")))
    turn = 0
    for name, algorithm, reduction in itertools.product(names, ALGORITHMS, REDUCTIONS):
        turn += reduction != "none"
        for second, dtype in itertools.product((False, True), TOLERANCE):
            full = reduction == "none" and dtype == "f64"
            if whole or full or turn % 4 == 2 * second + (dtype == "f32"):
                yield name, second, dtype, algorithm, reduction, 1
    if ranks > 1 and "MPIEXEC_EXECUTABLE" in os.environ:
        for name, second in itertools.product(names, (False, True)):
            yield name, second, "f64", "auto", "none", ranks


def report(results):
    """Table of the largest errors; the number of failures."""
    failures = 0
    worst = {}
    for case, (error, message) in results:
        name, _, dtype, algorithm = case[:4]
        key = name, algorithm, dtype
        worst[key] = max(worst.get(key, 0.0), error)
        if error > TOLERANCE[dtype]:
            failures += 1
            print(f"FAIL {case}: error {error:.1e} {message}")
    columns = [(algorithm, dtype) for dtype in TOLERANCE for algorithm in ALGORITHMS]
    print(f"{'network':24}" + "".join(f"{a[:6]} {d:6}" for a, d in columns))
    for name in dict.fromkeys(key[0] for key in worst):
        print(f"{name:24}" + "".join(f"{worst[name, a, d]:<13.1e}" for a, d in columns))
    print(f"{len(results)} kernels, {failures} failures")
    return failures


def main():
    with h5py.File(REFERENCES, "r") as file:
        names = [word for word in sys.argv[1:] if word != "--all"] or list(file)
    todo = list(cases(names, len(sys.argv) > 1))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        first = run(todo[0], folder)  # measures the rates once, into the cache
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            rest = pool.map(lambda case: run(case, folder), todo[1:])
            results = list(zip(todo, [first, *rest]))
    return 1 if report(results) else 0


if __name__ == "__main__":
    sys.exit(main())
