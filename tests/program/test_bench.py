#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 300
"""scripts/bench on its smallest case: the table comes out and its figures fit each other. How fast
anything is does not matter here."""
import os
import re
import subprocess
import sys
import tempfile

from program import MAX_RANKS, SCANTK, Failure, expect

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORES = min(2, MAX_RANKS)


def bench(folder, *words):
    ended = subprocess.run(
        [os.path.join(ROOT, "scripts", "bench"), "--quick", "--no-peers", "--repeat", "1",
         "--cores", str(CORES), "--work", folder, *words], env=dict(os.environ, SCANTK=SCANTK),
        capture_output=True, text=True, timeout=200, check=False)
    if ended.returncode != 0:
        raise Failure(f"scripts/bench {' '.join(words)}: exit {ended.returncode}: {ended.stderr}")
    expect(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")
    return ended.stdout.splitlines()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(text):
    return float(text.replace(",", "").replace(" %", ""))


def check_row(row, gemm):
    """[case, N, layout, seconds, (rate, share) x 3, predicted / measured, s / pair, ...]"""
    n, seconds, pair = number(row[1]), number(row[3]), number(row[11])
    expect(0 < seconds < 100 and abs(pair * n * n / seconds - 1) < 0.02, f"seconds: {row}")
    for rate, share in ((4, 5), (6, 7), (8, 9)):
        expect(0 < number(row[rate]) < 3 * gemm, f"rates: {row}")
        expect(abs(number(row[share]) - 100 * number(row[rate]) / gemm) < 300, f"share: {row}")
    expect(0 <= number(row[10]) < 1000, f"predicted: {row}")
    expect(row[12:] == ["-"] * 4 or row[12:] == [""] * 4, f"peers: {row}")


def check_table(folder):
    lines = bench(folder, "--case", "smoke", "--markdown")
    title = re.search(r"^(\d+) cores?, \S+: sgemm (\S+) GFLOP/s, dgemm (\S+) GFLOP/s, copy (\S+) GB/s",
                      lines[0])
    expect(title and int(title[1]) == CORES, lines[0])
    expect(all(number(title[i]) > 0 for i in (2, 3, 4)), lines[0])
    header, rows = cells(lines[2]), [cells(line) for line in lines[4:]]
    expect(all(len(row) == len(header) for row in rows), str(rows))
    layouts = [[1, CORES], [CORES, 1]][:CORES]
    expect([[int(k) for k in row[2].split(" x ")] for row in rows] == layouts, str(rows))
    for row in rows:
        expect(row[0] == "smoke", str(row))
        check_row(row, number(title[2]))


def check_choices(folder):
    lines = bench(folder, "--case", "smoke", "--choices", "--markdown")
    rows = {cells(line)[1]: cells(line) for line in lines[4:]}
    expect(rows["structured"][3] == "is auto", str(rows))
    for choice in ("auto", "jacobian", "ntvp", "outside-in"):
        expect(choice in rows and number(rows[choice][4]) > 0, f"{choice}: {rows}")
    expect(0 < number(rows["auto / best"][5]) and
           number(rows["auto / best"][5]) >= max(number(row[5]) for row in rows.values()
                                                 if re.match(r"[\d.]", row[5])) - 0.01, str(rows))


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            check_table(folder)
            check_choices(folder)
        except (Failure, subprocess.TimeoutExpired) as failure:
            sys.exit(f"FAIL {failure}")
    print("ok")


if __name__ == "__main__":
    main()
