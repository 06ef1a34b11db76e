#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 200
"""scripts/simulate: the loop on 64 simulated ranks ends, contracts every pair once (the simulator
itself ends with 1 where it does not), sends the bytes and takes the memory that it must."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCANTK = os.environ.get("SCANTK", os.path.join(ROOT, "build", "bin", "scantk"))
RANKS = 64


def expect(condition, text):
    if not condition:
        sys.exit(f"FAIL {text}")


def simulate(environment, model, *words):
    ended = subprocess.run([os.path.join(ROOT, "scripts", "simulate"), "--model", model, "--json",
                            "--ranks", str(RANKS), *words], env=environment, text=True,
                           capture_output=True, timeout=150, check=False)
    expect(ended.returncode == 0, f"{words}: exit {ended.returncode}: {ended.stderr}")
    return json.loads(ended.stdout)


def check(found, case):
    expect(found["ranks"] == RANKS, case)
    expect(0 < found["efficiency"] <= 1, f"{case}: efficiency {found['efficiency']}")
    expect(found["memory-peak"] <= 1.01 * found["memory-due"] + 1e5,
           f"{case}: {found['memory-peak']} bytes of memory, {found['memory-due']} due")
    work = found["work-seconds"] / RANKS
    phases = sum(found["phases"][name][1] for name in ("sweeps", "contraction", "write"))
    expect(phases >= 0.99 * work, f"{case}: {phases} s of work, {work} due")
    print(f"{case}: efficiency {100 * found['efficiency']:.1f} %, {found['seconds']:.3g} s, "
          f"{found['sent'] / RANKS / 1e6:.1f} MB sent by a rank")


def main():
    if not shutil.which("smpirun"):
        print("skipped: no smpirun (libsimgrid-dev)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, SCANTK_CACHE=folder)
        model = os.path.join(folder, "fcn.onnx")
        subprocess.run([SCANTK, "model", "fcn", "--width", "256", "--outputs", "10", "-o", model],
                       env=environment, check=True)
        found = simulate(environment, model, "--samples", "6000")
        check(found, "one panel")
        expect(found["sent"] == found["sent-due"] > 0,
               f"{found['sent']} bytes sent, {found['sent-due']} due")
        expect(found["elements"] == 6000 ** 2 * 100, f"{found['elements']} elements")
        fast = simulate(environment, model, "--samples", "6000", "--disk", "1e6", "--network",
                       "1e6")
        check(fast, "a network and a file system that take no time")
        expect(fast["efficiency"] >= found["efficiency"], "they are no faster")
        found = simulate(environment, model, "--samples", "3000", "--block", "48", "--memory",
                         "16M")
        check(found, "several panels")
        expect(found["sent-due"] == 0, "there was only one panel")
        check(simulate(environment, model, "--samples", "3001", "--reduce", "trace"), "trace")


if __name__ == "__main__":
    main()
