#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
# timeout: 300
"""solve --method matrix-free and linearize, against numpy with kernels that were formed."""
import json
import os
import sys

from program import MAX_RANKS, expect, h5py, must, np, read, run, run_cases, write_data

N, M, O = 30, 11, 4
RANKS = min(3, MAX_RANKS)
SOLVE = ["solve", "--method", "matrix-free", "--model", "net.onnx", "--inputs", "train.h5"]


def off(found, due):
    expect(found.shape == due.shape, f"shape {found.shape} for {due.shape}")
    return np.abs(found - due).max() / np.abs(due).max()


def make(folder):
    """A network, samples, and what is to come out: kernels, outputs."""
    random = np.random.default_rng(4)
    must(folder, "model", "cnn", "--input", "1x6x6", "--width", "6", "--depth", "2", "--outputs",
         str(O), "--output", "net.onnx")
    labels = random.integers(0, O, N + M)
    inputs = random.normal(size=(N + M, 1, 6, 6))
    write_data(os.path.join(folder, "train.h5"), inputs=inputs[:N], labels=labels[:N])
    write_data(os.path.join(folder, "test.h5"), inputs=inputs[N:], labels=labels[N:])
    np.save(os.path.join(folder, "targets.npy"), random.normal(size=(N, O)))
    np.save(os.path.join(folder, "bad.npy"), np.full(N, O))
    np.save(os.path.join(folder, "few.npy"), np.zeros(N - 1, int))
    np.save(os.path.join(folder, "narrow.npy"), np.zeros((N, O - 1)))
    must(folder, "model", "cnn", "--input", "1x6x6", "--width", "5", "--depth", "1", "--outputs",
         str(O), "--seed", "9", "--output", "start.onnx")
    for name in ("train", "test"):
        must(folder, "forward", "--model", "start.onnx", "--inputs", f"{name}.h5", "--dtype", "f64",
             "--output", f"{name}-start.h5")
    for reduction in ("none", "trace", "pseudo", "diagonal"):
        for name, rows in [("train", "train.h5"), ("test", "test.h5")]:
            must(folder, "kernel", "--model", "net.onnx", "--inputs", rows, *(
                ["--inputs2", "train.h5"] if name == "test" else []), "--reduce", reduction,
                 "--dtype", "f64", "--output", f"{reduction}-{name}.h5", "--quiet")


def expected(folder, reduction, targets, ridges, centred=True, start=None):
    """alpha and predictions of both sides by Cholesky: [R, N, O]; ridges times the diagonal. start:
    f0 of both sides."""
    path, test = (os.path.join(folder, f"{reduction}-{name}.h5") for name in ("train", "test"))
    kernel, other = read(path, "kernel"), read(test, "kernel")
    f0, f1 = read(path, "outputs1"), read(test, "outputs1")
    if not centred:
        f0, f1 = 0 * f0, 0 * f1
    f0, f1 = start or (f0, f1)
    if reduction == "diagonal":
        return expected_diagonal(kernel, other, targets, ridges, f0, f1)
    size = len(kernel) * (kernel.shape[1] if kernel.ndim == 4 else 1)
    matrix, rest = kernel.reshape(size, size), (targets - f0).reshape(size, -1)
    found = [], [], []
    for ridge in ridges:
        shift = ridge * np.trace(matrix) / size
        alpha = np.linalg.solve(matrix + shift * np.eye(size), rest)
        found[0].append(alpha.reshape(f0.shape))
        found[1].append((matrix @ alpha).reshape(f0.shape) + f0)
        found[2].append((other.reshape(-1, size) @ alpha).reshape(f1.shape) + f1)
    return [np.array(x) for x in found]


def expected_diagonal(kernel, other, targets, ridges, f0, f1):
    """The same of a system for each output, whose ridge is by its own diagonal."""
    found = [], [], []
    for ridge in ridges:
        alpha = np.stack([np.linalg.solve(K + ridge * K.trace() / len(K) * np.eye(len(K)), b)
                          for K, b in zip(kernel, (targets - f0).T)], 1)
        found[0].append(alpha)
        found[1].append(np.einsum("onm,mo->no", kernel, alpha) + f0)
        found[2].append(np.einsum("onm,mo->no", other, alpha) + f1)
    return [np.array(x) for x in found]


def one_hot(folder):
    return np.eye(O)[read(os.path.join(folder, "train.h5"), "labels")] - 1 / O


def check_solution(folder, output, due, bounds):
    with h5py.File(os.path.join(folder, output), "r") as file:
        for name, values, bound in zip(("alpha", "train_predictions", "test_predictions"), due,
                                       bounds):
            error = off(file[name][()], values)
            expect(error < bound, f"{output}: {name} off by {error:.1e}")
        expect((file["residual"][()] < 1e-8).all(), "residual")
        expect((file["ridge_absolute"][()] > file["ridge"][()]).all(), "ridges")
        expect(json.loads(file["provenance"][()])["format"] == "scantk-solution 1", "provenance")


def check_solve(folder, reduction, ranks, landmarks):
    output = f"{reduction}-{ranks}-{landmarks}.h5"
    words = [] if landmarks is None else ["--landmarks", str(landmarks)]
    out = must(folder, *SOLVE, "--test-inputs", "test.h5", "--ridge", "1e-6,1e-3", "--tolerance",
               "1e-10", "--reduce", reduction, "--output", output, *words, ranks=ranks).out
    due = expected(folder, reduction, one_hot(folder), (1e-6, 1e-3))
    check_solution(folder, output, due, (1e-5, 1e-8, 1e-8))
    lines = out.splitlines()
    right = due[2][0].argmax(1) == read(os.path.join(folder, "test.h5"), "labels")
    expect(len(lines) == 4 and lines[2].startswith("test ") and
           float(lines[2].split()[-1]) == float(f"{right.mean():.6g}"), out)
    expect(not os.path.exists(os.path.join(folder, output + ".state")), "the state is left")
    if reduction in ("trace", "diagonal"):  # no network linearised
        return
    for which in {1, ranks} if landmarks == 7 else {ranks}:
        name = f"{output}-{which}.linear"
        must(folder, "linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution",
             output, "--test-inputs", "test.h5", "--reduce", reduction, "--output", name,
             ranks=which)
        found = read(os.path.join(folder, name), "linearized")
        alpha = read(os.path.join(folder, output), "alpha")
        kernel = read(os.path.join(folder, f"{reduction}-test.h5"), "kernel")
        f1 = read(os.path.join(folder, f"{reduction}-test.h5"), "outputs1")
        form = "mpno,rno->rmp" if kernel.ndim == 4 else "mn,rno->rmo"
        error = off(found, np.einsum(form, kernel, alpha) + f1)
        expect(error < 1e-8, f"{name}: off by {error:.1e}")
        expect((read(os.path.join(folder, name), "outputs") == found[0]).all(), "/outputs")


def check_targets(folder):
    """Real targets, no center, selected outputs, absolute ridges, f32."""
    targets = np.load(os.path.join(folder, "targets.npy"))
    must(folder, *SOLVE, "--test-inputs", "test.h5", "--labels", "targets.npy", "--center", "zero",
         "--ridge", "1e-4", "--tolerance", "1e-10", "--output", "real.h5", ranks=min(2, RANKS))
    check_solution(folder, "real.h5", expected(folder, "none", targets, [1e-4], False),
                   (1e-5, 1e-8, 1e-8))
    must(folder, "linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution",
         "real.h5", "--test-inputs", "test.h5", "--test-range", "2:9", "--output", "real.linear")
    due = read(os.path.join(folder, "real.h5"), "test_predictions")
    expect(off(read(os.path.join(folder, "real.linear"), "linearized"), due[:, 2:9]) < 1e-8,
           "a solution without center")
    must(folder, *SOLVE, "--labels", "targets.npy", "--ridge", "1e-2", "--dtype", "f32",
         "--tolerance", "1e-4", "--output", "f32.h5")
    error = off(read(os.path.join(folder, "f32.h5"), "train_predictions"),
                expected(folder, "none", targets, [1e-2])[1])
    expect(error < 1e-3, f"f32: off by {error:.1e}")
    diagonal = read(os.path.join(folder, "none-train.h5"), "kernel").reshape(N * O, -1).trace()
    must(folder, *SOLVE, "--labels", "targets.npy", "--ridge-scale", "absolute", "--ridge",
         f"{1e-3 * diagonal / N / O:.17g}", "--output", "absolute.h5")
    error = off(read(os.path.join(folder, "absolute.h5"), "alpha"),
                expected(folder, "none", targets, [1e-3])[0])
    expect(error < 1e-6, f"an absolute ridge: off by {error:.1e}")


def check_dependent(folder):
    """Right-hand sides that depend on one another, in blocks: of classes that do not occur, and
    because all add up to 0."""
    classes = read(os.path.join(folder, "train.h5"), "labels") % 2
    np.save(os.path.join(folder, "two.npy"), classes)
    ended = must(folder, *SOLVE, "--test-inputs", "test.h5", "--labels", "two.npy", "--center",
                 "zero", "--reduce", "pseudo", "--landmarks", "0", "--ridge", "1e-5,1e-2",
                 "--tolerance", "1e-10", "--output", "two.h5", ranks=RANKS)
    due = expected(folder, "pseudo", np.eye(O)[classes] - 1 / O, (1e-5, 1e-2), False)
    check_solution(folder, "two.h5", due, (1e-5, 1e-8, 1e-8))
    said = next(line for line in ended.err if "iterations" in line).split()
    steps, vectors = int(said[said.index("iterations,") - 1]), int(said[said.index("vectors,") - 1])
    expect(vectors - 4 * O <= 4 * steps, f"more than two directions a ridge: {' '.join(said)}")


def check_center(folder):
    """Outputs of another network's file as f0; of the test samples too, or their own."""
    words = ["--ridge", "1e-4", "--tolerance", "1e-10", "--center", "train-start.h5",
             "--test-inputs", "test.h5"]
    f0, f1 = (read(os.path.join(folder, side + "-start.h5"), "outputs")
              for side in ("train", "test"))
    own = read(os.path.join(folder, "none-test.h5"), "outputs1")
    for output, more, start in [("center.h5", ["--test-center", "test-start.h5"], (f0, f1)),
                                ("center-own.h5", [], (f0, own))]:
        must(folder, *SOLVE, *words, *more, "--output", output, ranks=RANKS)
        due = expected(folder, "none", one_hot(folder), [1e-4], start=start)
        check_solution(folder, output, due, (1e-5, 1e-8, 1e-8))
    must(folder, *SOLVE, "--ridge", "1e-3", "--range", "4:20", "--center", "train-start.h5",
         "--output", "center-range.h5", ranks=min(2, RANKS))
    expect((read(os.path.join(folder, "center-range.h5"), "outputs") == f0[4:20]).all(), "a range")
    ended = run(folder, "linearize", *SOLVE[3:], "--solution", "center.h5", "--test-inputs",
                "test.h5", "--output", "center.linear")
    expect(ended.code == 2 and "outputs of another file" in ended.err[-1], str(ended))


def check_few(folder):
    """Fewer samples than ranks: as the same on one rank."""
    found = []
    for ranks in (1, RANKS):
        output = f"few-{ranks}.h5"
        some = ["--range", "3:5", "--test-inputs", "test.h5", "--test-range", "0:1", "--output"]
        must(folder, *SOLVE, "--ridge", "1e-2", *some, output, ranks=ranks)
        must(folder, "linearize", *SOLVE[3:], "--solution", output, *some, output + ".linear",
             ranks=ranks)
        found.append((read(os.path.join(folder, output), "test_predictions"),
                      read(os.path.join(folder, output + ".linear"), "linearized")))
    for values in (*found[1], found[0][1]):
        expect(off(values, found[0][0]) < 1e-10, "few samples")


def check_resume(folder):
    """What did not converge is kept, and gone on with."""
    words = [*SOLVE, "--ridge", "1e-5", "--landmarks", "2", "--output", "slow.h5"]
    ended = run(folder, *words, "--iterations", "5", ranks=RANKS)
    expect(ended.code == 3 and "not converged after 5 iterations" in ended.err[-1], str(ended))
    state, output = (os.path.join(folder, name) for name in ("slow.h5.state", "slow.h5"))
    expect(os.path.exists(state) and not os.path.exists(output), "no state is kept")
    ended = run(folder, *words)
    expect(ended.code == 1 and "slow.h5.state" in ended.err[-1], str(ended))
    before = read(state, "alpha")
    must(folder, *words, "--resume")
    expect(not os.path.exists(state), "the state is left")
    due = expected(folder, "none", one_hot(folder), [1e-5])[0]
    expect(off(read(output, "alpha"), due) < 1e-3 < off(before, due), "not what is to come out")
    must(folder, *words, "--resume", ranks=min(2, RANKS))


REFUSED = [
    ([*SOLVE, "--ridge", "1e-6,x"], 2, "--ridge"),
    ([*SOLVE, "--labels", "bad.npy"], 2, "bad.npy"),
    ([*SOLVE, "--labels", "few.npy"], 2, "29 samples"),
    ([*SOLVE, "--select-outputs", "9"], 2, "--select-outputs"),
    ([*SOLVE, "--test-labels", "few.npy"], 2, "--test-inputs"),
    ([*SOLVE, "--reduce", "mean"], 2, "none|trace|diagonal|pseudo"),
    ([*SOLVE, "--center", "few.npy"], 2, "outputs of 29 samples"),
    ([*SOLVE, "--center", "narrow.npy"], 2, "narrow.npy: 3 outputs"),
    ([*SOLVE, "--test-center", "few.npy"], 2, "--test-center"),
    ([*SOLVE[:-1], "targets.npy"], 2, "targets.npy"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution", "net.onnx",
      "--test-inputs", "test.h5"], 1, "net.onnx"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution", "train.h5",
      "--test-inputs", "test.h5"], 1, "/alpha"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--range", "0:9", "--solution",
      "none-1-None.h5", "--test-inputs", "test.h5"], 2, "/alpha is [2, 30, 4]"),
    (["linearize", "--model", "other.onnx", "--inputs", "train.h5", "--solution", "none-1-None.h5",
      "--test-inputs", "test.h5"], 2, "model: "),
    (["linearize", "--model", "net.onnx", "--inputs", "moved.h5", "--solution", "none-1-None.h5",
      "--test-inputs", "test.h5"], 2, "samples"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution", "none-1-None.h5",
      "--test-inputs", "test.h5", "--reduce", "pseudo"], 2, "reduction"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution", "none-1-None.h5",
      "--test-inputs", "test.h5", "--select-outputs", "3,0:3"], 2, "outputs: 0 1 2 3 there"),
    (["linearize", "--model", "net.onnx", "--inputs", "train.h5", "--solution", "none-1-None.h5",
      "--test-inputs", "test.h5", "--freeze", "head*"], 2, "parameters"),
]


def check_refused(folder):
    must(folder, "model", "cnn", "--input", "1x6x6", "--width", "6", "--depth", "2", "--outputs",
         str(O), "--seed", "1", "--output", "other.onnx")
    write_data(os.path.join(folder, "moved.h5"),
               inputs=read(os.path.join(folder, "train.h5"), "inputs")[::-1])
    for i, (words, code, name) in enumerate(REFUSED):
        ended = run(folder, *words, "--output", "never.h5", ranks=RANKS if i % 4 == 1 else 1)
        own = [line for line in ended.err if line.startswith("scantk: error")]
        expect(ended.code == code and len(own) == 1 and name in own[0], str(ended))
        expect(not os.path.exists(os.path.join(folder, "never.h5")), "left a file")


def cases(folder):
    make(folder)
    check_solve(folder, "none", 1, None)
    for reduction, ranks, landmarks in [("none", RANKS, 0), ("none", RANKS, 7),
                                        ("trace", RANKS, 6), ("pseudo", RANKS, 9),
                                        ("diagonal", RANKS, 0), ("diagonal", RANKS, 8)]:
        yield (f"{reduction}, {ranks} ranks, {landmarks} landmarks",
               lambda a=(reduction, ranks, landmarks): check_solve(folder, *a))
    yield "targets", lambda: check_targets(folder)
    yield "dependent", lambda: check_dependent(folder)
    yield "center", lambda: check_center(folder)
    yield "few", lambda: check_few(folder)
    yield "resume", lambda: check_resume(folder)
    yield "refused", lambda: check_refused(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
