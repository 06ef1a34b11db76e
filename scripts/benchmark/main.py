# SPDX-License-Identifier: Apache-2.0
"""Measures kernels by scantk and by other software, and prints one table.

contraction, sweeps, whole: their flops (those of the contraction are the minimal ones of the best
order, each pair once; each sample is swept once in the whole) by their seconds, in GFLOP/s and as
a share of the rate of large products of matrices just before and after (sgemm, or dgemm for f64:
rates of shared machines change from second to second). The whole lasts from the first read of data
to the last tile written. Seconds per pair are those of the whole by N^2, also of the peers, each by
its best way and batch size up to N. All are medians."""
import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile

import cases
import choices
import fashion
import ours
import peers
import table

HEADER = ["case", "N", "ranks x threads", "seconds", "contraction", "share", "sweeps", "share",
          "whole", "share", "predicted / measured", "s / pair", "neural-tangents", "ratio",
          "functorch", "ratio"]


def say(text):
    print("scripts/bench: " + text, file=sys.stderr, flush=True)


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse():
    known = {case.name: case for case in [*cases.CASES, cases.SMOKE]}
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="a few minutes: fewer samples and repetitions, less time for peers")
    parser.add_argument("--case", action="append", choices=known, metavar="NAME",
                        help="only this one (may be repeated): " + ", ".join(known))
    parser.add_argument("--no-peers", action="store_true", help="our own program alone")
    parser.add_argument("--repeat", type=positive, metavar="N",
                        help="runs of each case (default 5, with --quick 3)")
    parser.add_argument("--cores", type=positive, metavar="N",
                        default=len(os.sched_getaffinity(0)), help="how many to use (default all)")
    parser.add_argument("--choices", action="store_true",
                        help="instead: what the planner chooses against every forced choice")
    parser.add_argument("--large", action="store_true",
                        help="also 60,000 images of Fashion-MNIST, pseudo and trace (14.4 GB each)")
    parser.add_argument("--markdown", action="store_true", help="the table for a README")
    parser.add_argument("--work", metavar="FOLDER", default=tempfile.gettempdir(),
                        help="where files are made and removed (default %(default)s)")
    asked = parser.parse_args()
    asked.cases = [known[name] for name in asked.case] if asked.case else cases.CASES
    asked.repeat = asked.repeat or (3 if asked.quick else 5)
    return asked


class Bench:
    def __init__(self, asked, program):
        self.asked, self.program = asked, program
        self.gemm_size = 1536 if asked.quick else 3072
        self.layouts = [(1, asked.cores)] + ([(asked.cores, 1)] if asked.cores > 1 else [])
        self.rates = {"s": [], "d": [], "copy": []}
        self.peers = None
        self.failed = False

    def gemm(self, case):
        """Just now, of the case's type."""
        prefix = "d" if case.dtype == "f64" else "s"
        rate = self.program.rates(self.gemm_size, prefix)[prefix]
        self.rates[prefix].append(rate)
        return rate

    def samples(self, case):
        return case.quick_n if self.asked.quick else case.n

    # ---- one case --------------------------------------------------------------------------

    def repeat(self, case, n):
        """Logs of each layout, with the GEMM rate around each run. The first run of a layout, which
        measures the rates to plan with and brings files into memory, does not count."""
        logs = {layout: [] for layout in self.layouts}
        for layout in self.layouts:
            say(f"{case.name}: {layout[0]} x {layout[1]}, warming up")
            self.program.kernel(case, min(n, case.quick_n), layout)
        for i in range(self.asked.repeat):
            say(f"{case.name}: run {i + 1} of {self.asked.repeat}")
            for layout in self.layouts:
                logs[layout].append(self.beside_gemm(case, n, layout))
        return logs

    def beside_gemm(self, case, n, layout):
        before = self.gemm(case)
        log = self.program.kernel(case, n, layout)
        log["gemm"] = (before + self.gemm(case)) / 2
        return log

    def compare(self, case, n, pair):
        """Cells of the peers."""
        if self.asked.no_peers:
            return ["-"] * 4
        if not self.peers:
            self.peers = peers.Peers(self.asked.cores, 12 if self.asked.quick else 60,
                                     self.program.blas_core, say)
        cells = []
        for result in (self.peers.neural_tangents(case, n), self.peers.functorch(case, n)):
            if result.seconds:
                cells += [f"{table.three(result.seconds)} ({result.how})",
                          f"{table.three(result.seconds / pair)}"]
            else:
                cells += [result.how, "-"]
        return cells

    def row(self, name, n, layout, logs):
        """Cells of one layout up to the seconds per pair, and these."""
        def median(kind, phase):
            return statistics.median(log[kind][phase] for log in logs)
        seconds = median("seconds", "whole")
        cells = [name, f"{n:,}", f"{layout[0]} x {layout[1]}", table.three(seconds)]
        for phase in ("contraction", "sweeps", "whole"):
            share = statistics.median(log["gflops"][phase] / log["gemm"] for log in logs)
            cells += [table.three(median("gflops", phase)), table.percent(share)]
        predicted = statistics.median(log["predicted"]["whole"] / log["seconds"]["whole"]
                                      for log in logs)
        pair = seconds / n**2
        return cells + [f"{predicted:.2f}", table.three(pair)], pair

    def measure(self, case):
        n, rows, pairs = self.samples(case), [], []
        logs = self.repeat(case, n)
        for layout in self.layouts:
            cells, pair = self.row(case.name, n, layout, logs[layout])
            rows.append(cells)
            pairs.append(pair)
        cells = self.compare(case, n, min(pairs))
        return [rows[0] + cells] + [row + [""] * 4 for row in rows[1:]]

    def measure_fashion(self, case):
        layout = self.layouts[0]
        before = self.gemm(case)
        say(f"{case.name}: one run")
        log, n = fashion.measure(self.program, case, layout, say)
        log["gemm"] = (before + self.gemm(case)) / 2
        say(f"{case.name}: {log['seconds_from_idx']:.0f} s from IDX to HDF5, {n:,} samples" +
            ("" if n == case.n else f"; {case.n:,} would take "
             f"{log['seconds_from_idx'] * (case.n / n) ** 2:.0f} s"))
        return [self.row(case.name, n, layout, [log])[0] + ["-"] * 4]

    # ---- all -------------------------------------------------------------------------------

    def attempt(self, case, measure, columns):
        """Rows, or one row that says why there are none."""
        try:
            return measure(case)
        except ours.Unfit as reason:
            say(f"{case.name}: skipped: {reason}")
            return [[case.name, f"skipped: {reason}"] + [""] * (columns - 2)]
        except ours.Failure as reason:
            self.failed = True
            say(f"{case.name}: failed: {reason}")
            return [[case.name, f"failed: {reason}"] + [""] * (columns - 2)]

    def title(self):
        """The machine by its cores and instructions alone."""
        self.rates.update({key: self.rates[key] or [value] for key, value in
                           self.program.rates(self.gemm_size, "s", "d", "copy").items()})
        s, d, copy = (table.three(statistics.median(self.rates[key])) for key in ("s", "d", "copy"))
        cores = f"{self.asked.cores} core{'s' if self.asked.cores > 1 else ''}"
        return (f"{cores}, {ours.instruction_set()}: sgemm {s} GFLOP/s, dgemm {d} GFLOP/s, copy "
                f"{copy} GB/s. Medians of {self.asked.repeat}. {self.program.version}, measured "
                "with scripts/bench" + (" --quick." if self.asked.quick else "."))

    def choices(self):
        limit = 60 if self.asked.quick else 300
        rows = []
        for case in self.asked.cases:
            rows += self.attempt(
                case, lambda c: choices.measure(self.program, c, self.samples(c), self.layouts[0],
                                                self.asked.repeat, limit, say),
                len(choices.HEADER))
        return choices.HEADER, rows

    def all(self):
        rows = []
        for case in self.asked.cases:
            rows += self.attempt(case, self.measure, len(HEADER))
        for case in cases.FASHION if self.asked.large else []:
            rows += self.attempt(case, self.measure_fashion, len(HEADER))
        return HEADER, rows


def main():
    asked = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # files are removed
    work = tempfile.mkdtemp(prefix="scantk-bench-", dir=asked.work)
    try:
        bench = Bench(asked, ours.Program(work, asked.cores))
        header, rows = bench.choices() if asked.choices else bench.all()
        title = bench.title()
        text = table.show(header, rows, asked.markdown)
    except ours.Failure as failure:
        sys.exit(f"scripts/bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(1)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{title}\n\n{text}")
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
