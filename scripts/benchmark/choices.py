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

    def __init__(self, program, case, n, layout, limit):
        self.program, self.case, self.n, self.layout = program, case, n, layout
        self.limit = limit
        self.run(n)  # rates are measured, files are in memory
        seconds, self.lines = self.planned(n)
        self.pair = seconds / n**2  # auto's

    def run(self, n, *words):
        log = self.program.kernel(self.case, n, self.layout, *words, limit=self.limit)
        return log["seconds"]["whole"]

    def planned(self, n, *words):
        """Seconds, and the lines of the plan that was followed."""
        path = self.program.file("chosen.plan")
        seconds = self.run(n, "--write-plan", path, *words)
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        os.remove(path)
        return seconds, lines

    def order(self, order):
        """As algorithm() does, for the order in all groups that take it; the others keep theirs."""
        lines = self.lines
        wanted = [re.sub(r"^order \S+", "order " + order, line) for line in lines]
        if wanted == lines:
            raise ours.Unfit("is auto")
        while wanted != lines:
            path = self.program.file(order + ".plan")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(wanted) + "\n")
            try:
                return self.n, ["--plan", path], self.run(self.n, "--plan", path)
            except ours.Unfit as refusal:
                found = re.search(r" does not suit (.*) here$", str(refusal))
                refused = [i for i, line in enumerate(wanted) if wanted[i] != lines[i] and found
                           and line.endswith(" " + found[1])]
                if not refused:
                    raise
                wanted[refused[0]] = lines[refused[0]]
        raise ours.Unfit("no other group takes it")

    def algorithm(self, name):
        """Samples, options and seconds of one run."""
        words, n = ["--algorithm", name], max(8, self.n // PARTS.get(name, 1))
        if name in PARTS:
            seconds = self.run(n, *words)
            if seconds / n**2 > NEAR * self.pair:
                return n, words, seconds
        seconds, lines = self.planned(self.n, *words)
        if lines == self.lines:
            raise ours.Unfit("is auto")
        return self.n, words, seconds


def measure(program, case, n, layout, repeat, limit, say):
    """Rows of a case; the last one is auto beside the best. limit: seconds of a run. What comes
    near auto is run in turns with it: a machine may be faster now than a minute ago."""
    forced = Forced(program, case, n, layout, limit)
    found = {"auto": (n, [], [forced.pair * n**2])}  # or why there is none
    for name in ("structured", "jacobian", "ntvp", *ORDERS):
        say(f"{case.name}: {name}")
        try:
            samples, words, seconds = (forced.order if name in ORDERS else forced.algorithm)(name)
            found[name] = (samples, words, [seconds])
        except ours.Failure as failure:
            found[name] = str(failure)
    near = [choice for choice in found.values() if not isinstance(choice, str) and
            choice[2][0] / choice[0]**2 <= NEAR * forced.pair]
    for turn in range(1, repeat):
        say(f"{case.name}: turn {turn + 1} of {repeat}")
        for samples, words, seconds in near:
            seconds.append(forced.run(samples, *words))
    return rows_of(case, found)


def rows_of(case, found):
    pairs = {name: statistics.median(choice[2]) / choice[0]**2
             for name, choice in found.items() if not isinstance(choice, str)}
    rows = []
    for name, choice in found.items():
        if name in pairs:
            samples, pair = choice[0], pairs[name]
            rows.append([case.name, name, str(samples), table.three(pair * samples**2),
                         table.three(pair), f"{pairs['auto'] / pair:.2f}"])
        else:
            rows.append([case.name, name, "", choice, "-", "-"])
    best = min(pairs.values())
    return rows + [[case.name, "auto / best", "", "", "", f"{pairs['auto'] / best:.2f}"]]
