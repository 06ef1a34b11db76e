# SPDX-License-Identifier: Apache-2.0
"""What the planner chooses against what one can force: another algorithm, or one order for every
group of parameters that takes it."""
import os
import re
import statistics

import ours
import table

ORDERS = ["outside-in", "inside-out", "left-to-right", "constant"]
HEADER = ["case", "choice", "N", "seconds", "s / pair", "auto / this"]
# Dense Jacobians and products cost up to thousands of times more: a part of the samples tells.
# Where that part comes near auto, all samples are taken after all.
PARTS = {"jacobian": 8, "ntvp": 32}
NEAR = 3


class Forced:
    """Runs of a case by choices other than the planner's."""

    def __init__(self, program, case, n, layout, repeat, limit):
        self.program, self.case, self.n, self.layout = program, case, n, layout
        self.limit = limit
        self.plan = program.file("auto.plan")
        self.pair = 0  # auto's seconds per pair; what has none to be compared with is repeated
        self.repeat = 1
        self.run(n, "--write-plan", self.plan)  # rates are measured, files are in memory
        with open(self.plan, encoding="utf-8") as file:
            self.lines = file.read().splitlines()
        os.remove(self.plan)
        self.repeat = repeat
        self.pair = self.run(n) / n**2

    def run(self, n, *words):
        """Seconds: the median, but of one run alone where that is far from auto's."""
        seconds = []
        while len(seconds) < self.repeat:
            log = self.program.kernel(self.case, n, self.layout, *words, limit=self.limit)
            seconds.append(log["seconds"]["whole"])
            if self.pair and seconds[0] > NEAR * self.pair * n**2:
                break
        return statistics.median(seconds)

    def order(self, order):
        """Seconds with the order in all groups that take it, the others keep theirs."""
        lines = self.lines
        wanted = [re.sub(r"^order \S+", "order " + order, line) for line in lines]
        if wanted == lines:
            raise ours.Unfit("is auto")
        while wanted != lines:
            path = self.program.file("forced.plan")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(wanted) + "\n")
            try:
                return self.run(self.n, "--plan", path)
            except ours.Unfit as refusal:
                found = re.search(r" does not suit (.*) here$", str(refusal))
                refused = [i for i, line in enumerate(wanted) if wanted[i] != lines[i] and found
                           and line.endswith(" " + found[1])]
                if not refused:
                    raise
                wanted[refused[0]] = lines[refused[0]]
        raise ours.Unfit("no other group takes it")

    def algorithm(self, name):
        """Samples and seconds."""
        words, n = ["--algorithm", name], max(8, self.n // PARTS.get(name, 1))
        if name in PARTS:
            seconds = self.run(n, *words)
            if seconds / n**2 > NEAR * self.pair:
                return n, seconds
        return self.n, self.run(self.n, *words)


def measure(program, case, n, layout, repeat, limit, say):
    """Rows of a case; the last one is auto beside the best. limit: seconds of a run."""
    forced, pairs = Forced(program, case, n, layout, repeat, limit), []
    rows = [[case.name, "auto", str(n), table.three(forced.pair * n**2), table.three(forced.pair),
             "1"]]
    for name in ("structured", "jacobian", "ntvp", *ORDERS):
        say(f"{case.name}: {name}")
        try:
            samples, seconds = (n, forced.order(name)) if name in ORDERS else forced.algorithm(name)
        except ours.Failure as failure:
            rows.append([case.name, name, "", str(failure), "-", "-"])
            continue
        pairs.append(seconds / samples**2)
        rows.append([case.name, name, str(samples), table.three(seconds), table.three(pairs[-1]),
                     f"{forced.pair / pairs[-1]:.2f}"])
    best = min([forced.pair] + pairs)
    return rows + [[case.name, "auto / best", "", "", "", f"{forced.pair / best:.2f}"]]
