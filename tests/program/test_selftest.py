#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""`scantk selftest` and `scantk --build-info`: what they say, and that a selftest can fail."""
import os
import re
import sys
import time

from program import MAX_RANKS, expect, must, run, run_cases

CHECKS = ["products in f32", "products in f64", "messages", "algorithms: fcn", "algorithms: cnn",
          "kernel file"]


def outcomes(ended):
    """{check: (PASS or FAIL, words)} in the order of the lines."""
    lines = [re.fullmatch(r"(PASS|FAIL)  (.{20}) (.+)", line) for line in ended.out.splitlines()]
    expect(all(lines), f"not a line of a check in {ended.out!r}")
    return {line[2].strip(): (line[1], line[3]) for line in lines}


def check_passes(folder, ranks):
    start = time.monotonic()
    ended = must(folder, "selftest", ranks=ranks)
    found = outcomes(ended)
    expect(list(found) == CHECKS and not ended.err, str(ended) + ended.out)
    expect(all(outcome == "PASS" for outcome, _ in found.values()), ended.out)
    expect(time.monotonic() - start < 20, "takes more than 20 s")
    for kind in ("f32", "f64"):
        words = found[f"products in {kind}"][1]
        expect(words.startswith("BLAS ") and ", portable " in words, words)
    for error in re.findall(r"\de-\d+", found["algorithms: cnn"][1]):
        expect(float(error) < 1e-10, ended.out)
    expect(f"by {ranks} of {ranks} ranks" in found["kernel file"][1], ended.out)


def check_leaves_nothing(folder):
    parent = os.path.join(folder, "temporary")
    os.makedirs(parent)
    must(folder, "selftest", variables={"TMPDIR": parent})
    left = [name for name in os.listdir(parent) if name.startswith("scantk")]
    expect(not left, f"left behind: {left}")


def check_fails(folder, ranks):
    """No folder: what needs one fails, the rest is checked nevertheless."""
    ended = run(folder, "selftest", ranks=ranks, variables={"TMPDIR": "/no/such/folder"})
    found = outcomes(ended)
    failed = [name for name, (outcome, _) in found.items() if outcome == "FAIL"]
    expect(ended.code == 1 and list(found) == CHECKS and failed == CHECKS[3:], str(ended))
    expect(all("/no/such/folder" in found[name][1] for name in failed), ended.out)
    expect(ended.err == ["scantk: error: selftest: 3 of 6 checks failed"], str(ended))


def check_build_info(folder):
    out = must(folder, "--build-info", ranks=min(2, MAX_RANKS)).out
    found = {line[:12].strip(): line[12:] for line in out.splitlines()}
    expect(list(found) == ["version", "compiler", "build", "flags", "MPI", "HDF5", "BLAS",
                           "eigenvalues", "OpenMP", "vectors"], out)
    expect("scantk " + found["version"] + "\n" == must(folder, "--version").out, out)
    expect(re.match(r"(GNU|Clang) \d+\.", found["compiler"]), found["compiler"])
    expect(re.fullmatch(r"\d+\.\d+\.\d+", found["HDF5"]), found["HDF5"])
    expect(found["vectors"] in ("avx512", "avx2", "portable"), found["vectors"])
    narrow = must(folder, "--build-info", variables={"SCANTK_SIMD": "portable"}).out
    expect(narrow.endswith("vectors     portable\n"), narrow)


def cases(folder):
    for ranks in (1, 2, 3, 6):
        if ranks <= MAX_RANKS:
            yield f"passes on {ranks}", lambda ranks=ranks: check_passes(folder, ranks)
    yield "leaves nothing", lambda: check_leaves_nothing(folder)
    yield "fails", lambda: check_fails(folder, 1)
    yield "fails on 2", lambda: check_fails(folder, min(2, MAX_RANKS))
    yield "build info", lambda: check_build_info(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
