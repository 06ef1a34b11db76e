# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST whole: from the IDX file to the kernel's HDF5 file."""
import gzip
import os
import shutil
import struct
import subprocess
import time

import ours

IMAGES = "train-images-idx3-ubyte.gz"


def find():
    """The file of images of Debian's dataset-fashion-mnist or of $FASHION_MNIST; None."""
    folder = os.environ.get("FASHION_MNIST")
    if folder:
        paths = [os.path.join(folder, IMAGES)]
    else:
        try:
            paths = subprocess.run(["dpkg", "-L", "dataset-fashion-mnist"], capture_output=True,
                                   text=True, check=False).stdout.split()
        except OSError:
            paths = []
    return next((p for p in paths if os.path.basename(p) == IMAGES and os.access(p, os.R_OK)), None)


def count(path):
    with gzip.open(path) as file:
        return struct.unpack(">ii", file.read(8))[1]


def samples_that_fit(folder, n):
    """Of an n x n kernel of f32 in nine tenths of the free space."""
    room = 0.9 * shutil.disk_usage(folder).free
    return min(n, int((room / 4) ** 0.5))


def measure(program, case, layout, say):
    """The log's figures with `seconds_from_idx` beside them, and the number of samples."""
    path = find()
    if not path:
        raise ours.Unfit("Fashion-MNIST is missing: install dataset-fashion-mnist, or set "
                         "FASHION_MNIST to the folder of " + IMAGES)
    n = samples_that_fit(program.work, min(case.n, count(path)))
    if n < case.n:
        say(f"{case.name}: {n} of {case.n} samples: the free space is too small for all")
    data = program.file("fashion.h5")
    if os.path.exists(data):
        os.remove(data)
    start = time.monotonic()
    program.words("dataset", "--images", path, "--divide", "255", "-o", data)
    log = program.kernel(case, n, layout, inputs=data)
    log["seconds_from_idx"] = time.monotonic() - start
    return log, n
