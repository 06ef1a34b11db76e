# SPDX-License-Identifier: Apache-2.0
"""Rates of this machine, as JSON: rates.py LIBRARY THREADS SIZE PREFIX..., where PREFIX is s or d
(products of matrices by the BLAS in LIBRARY) or copy. Medians of some repetitions."""
import concurrent.futures
import ctypes
import json
import statistics
import sys
import time

import numpy as np

REPETITIONS = 5
ROW_MAJOR, AS_IS, TRANSPOSED = 101, 111, 112
COPY_BYTES = 128 << 20


def median_seconds(function):
    function()  # touches memory, starts threads
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def gemm_gflops(library, prefix, size):
    """C = A B^T."""
    real, dtype = (ctypes.c_float, np.float32) if prefix == "s" else (ctypes.c_double, np.float64)
    gemm = getattr(library, f"cblas_{prefix}gemm")
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    gemm.argtypes = [integer] * 6 + [real] + [pointer, integer] * 2 + [real, pointer, integer]
    gemm.restype = None
    a, b = (np.random.default_rng(seed).random((size, size), dtype=dtype) for seed in (0, 1))
    c = np.zeros((size, size), dtype=dtype)

    def multiply():
        gemm(ROW_MAJOR, AS_IS, TRANSPOSED, size, size, size, 1, a.ctypes.data, size,
             b.ctypes.data, size, 0, c.ctypes.data, size)

    return 2e-9 * size**3 / median_seconds(multiply)


def copy_gigabytes(threads):
    """Read plus written in a second, each thread its own memory."""
    pairs = [np.ones((2, COPY_BYTES), dtype=np.uint8) for _ in range(threads)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        def copy():  # memmove releases the interpreter's lock
            list(pool.map(lambda p: ctypes.memmove(p[0].ctypes.data, p[1].ctypes.data, COPY_BYTES),
                          pairs))
        return 2e-9 * COPY_BYTES * threads / median_seconds(copy)


def main():
    path, threads, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    library = ctypes.CDLL(path)
    rates = {}
    for what in sys.argv[4:]:
        rates[what] = (copy_gigabytes(threads) if what == "copy" else
                       gemm_gflops(library, what, size))
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
