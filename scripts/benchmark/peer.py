# SPDX-License-Identifier: Apache-2.0
"""What the peers' scripts share: they time growing batches and print a line of JSON for each, so
that one that is stopped has said what it got to."""
import json
import math
import resource
import sys
import time


def request():
    """family, options, reduce, dtype, most samples, seconds, threads, implementation."""
    return json.loads(sys.argv[1])


def resident_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def free_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return math.inf


def time_batches(most, limit, make_input, kernel):
    """kernel(make_input(n)) for n = 4, 8, ... while the next is expected to fit time and memory:
    four times as much of both."""
    deadline = time.monotonic() + limit
    before, n = resident_bytes(), 4
    while n <= most:
        x = make_input(n)
        start = time.monotonic()
        kernel(x)  # compiles
        first = time.monotonic() - start
        seconds = []
        while len(seconds) < 3 and (not seconds or
                                    time.monotonic() + seconds[-1] < deadline):
            start = time.monotonic()
            kernel(x)
            seconds.append(time.monotonic() - start)
        median = sorted(seconds)[len(seconds) // 2]
        print(json.dumps({"n": n, "seconds_per_pair": median / n**2}), flush=True)
        taken = resident_bytes() - before
        if time.monotonic() + first + 8 * median > deadline or 3 * taken > free_bytes():
            break
        n *= 2
