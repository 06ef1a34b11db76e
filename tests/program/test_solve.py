#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 3
"""`scantk solve` against numpy: ridges, kernels of every kind, training times, test predictions;
times against neural-tangents' own predictions (tests/golden/make_predictions.py), too; what does
not belong together or cannot be solved is refused by name."""
import os
import re
import shutil
import sys

from program import MAX_RANKS, expect, h5py, must, np, read, run, run_cases, write_data

N, TESTS, O = 40, 9, 3
MANY = 110  # outputs of all are more than what is factorized as a whole
EPS = np.finfo(float).eps / 2
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
RIDGES = [1e-8, 1e-4, 0.1]


def some_ranks(most):
    return most if most <= MAX_RANKS else 1


# ---- files -----------------------------------------------------------------------------------


def make_files(folder):
    random = np.random.default_rng(8)
    inputs = random.normal(size=(MANY, 6))
    classes = random.integers(0, O, size=MANY)
    path = os.path.join(folder, "data.h5")
    write_data(path, inputs=inputs, labels=classes)
    write_data(os.path.join(folder, "targets.h5"), labels=random.normal(size=(N, O)),
               short=classes[:N - 1], nan=np.where(np.arange(N) == 4, np.nan, 1.0),
               classes=classes[:N], large=np.full(N, O), narrow=random.normal(size=(N, 2)))
    must(folder, "model", "fcn", "--input", "6", "--width", "24", "--depth", "2", "--outputs",
         str(O), "--output", "net.onnx")
    must(folder, "model", "fcn", "--input", "6", "--width", "24", "--depth", "2", "--outputs",
         str(O), "--seed", "1", "--output", "other.onnx")
    for name, words in KERNELS.items():
        make_kernel(folder, name, *words)
    make_kernel(folder, "many", "--dtype", "f64", range_=f"0:{MANY}")
    make_kernel(folder, "later", "--dtype", "f64", "--reduce", "trace", range_="1:41", test=False)
    make_kernel(folder, "other_test", "--dtype", "f64", "--reduce", "trace", model="other.onnx",
                test=False)
    must(folder, "forward", "--model", "other.onnx", "--inputs", "data.h5", "--range", f"0:{N}",
         "--dtype", "f64", "--output", "F.h5")
    must(folder, "forward", "--model", "other.onnx", "--inputs", "data.h5", "--range",
         f"{N}:{N + TESTS}", "--dtype", "f64", "--output", "G.h5")


# Blocks that divide neither samples nor outputs.
KERNELS = {"full": ["--dtype", "f64", "--block", "7x2"],
           "single": ["--dtype", "f32"],
           "trace": ["--dtype", "f64", "--reduce", "trace", "--block", "9"],
           "pseudo": ["--dtype", "f64", "--reduce", "pseudo"],
           "diagonal": ["--dtype", "f64", "--reduce", "diagonal", "--block", "16x2"],
           "half": ["--dtype", "f64", "--block", "7x2", "--store", "half"],
           "selected": ["--dtype", "f64", "--select-outputs", "0,2"]}


def make_kernel(folder, name, *words, range_=f"0:{N}", model="net.onnx", test=True):
    """name.h5 of training samples, and name_test.h5 of the others with these as columns."""
    common = ["kernel", "--quiet", "--model", model, "--inputs", "data.h5"]
    must(folder, *common, "--range", range_, "--output", name + ".h5", *words)
    if test and "--store" not in words:
        must(folder, *common, "--range", f"{N}:{N + TESTS}", "--range2", range_, "--output",
             name + "_test.h5", *words)


# ---- what is due -----------------------------------------------------------------------------


def matrices(folder, name):
    """A system for each plane: K, the test kernel, and how [N, O] becomes its right-hand sides."""
    whole = "full" if name == "half" else name
    kernel = read(os.path.join(folder, whole + ".h5"), "kernel").astype(float)
    test = read(os.path.join(folder, whole + "_test.h5"), "kernel").astype(float)
    if kernel.ndim == 4:
        n = kernel.shape[0] * kernel.shape[1]
        yield kernel.reshape(n, n), test.reshape(-1, n), lambda y: y.reshape(-1, 1)
    elif kernel.ndim == 2:
        yield kernel, test, lambda y: y
    else:
        for o, (k, t) in enumerate(zip(kernel, test)):
            yield k, t, lambda y, o=o: y[:, o:o + 1]


def centred(folder, name, side):
    """f0 [N, O] and labels."""
    path = os.path.join(folder, name + ("_test.h5" if side else ".h5"))
    return read(path, "outputs1").astype(float), read(path, "labels1")


def one_hot(labels, outputs=tuple(range(O))):
    return (labels[:, None] == np.array(outputs)).astype(float) - 1 / len(outputs)


def check_system(K, ridge, alpha, right):
    """LAPACK's measure of a solution."""
    A = K + ridge * np.eye(len(K))
    for a, b in zip(alpha.T, right.T):
        scale = np.abs(A).sum(0).max() * np.abs(a).sum() * len(K) * EPS
        expect(np.abs(b - A @ a).sum() <= 30 * scale,
               f"residual is {np.abs(b - A @ a).sum() / scale:.3g} of norm x n x eps")


def close(found, due, tolerance, what):
    worst = np.abs(found - due).max() / max(1, np.abs(due).max())
    expect(worst <= tolerance, f"{what}: off by {worst:.2g}")


def check_solution(folder, name, output, ridges, method="cholesky", targets=None, outputs=None):
    f0, labels = centred(folder, name, 0)
    g0, _ = centred(folder, name, 1)
    y = one_hot(labels, outputs or range(O)) if targets is None else targets
    if method == "zero":
        f0, g0 = 0 * f0, 0 * g0
    with h5py.File(os.path.join(folder, output)) as file:
        found = {key: file[key][()] for key in file}
    expect(np.array_equal(found["ridge"], ridges), f"ridges {found['ridge']}")
    expect(found["residual_scaled"].max() <= 30, f"{found['residual_scaled']}")
    for r, ridge in enumerate(ridges):
        for K, T, of in matrices(folder, name):
            added, alpha = ridge * np.trace(K) / len(K), of(found["alpha"][r])
            if method != "cg":
                check_system(K, added, alpha, of(y - f0))
            due = np.linalg.solve(K + added * np.eye(len(K)), of(y - f0))
            close(alpha, due, 1e-12 * np.linalg.cond(K + added * np.eye(len(K))), "alpha")
            close(of(found["train_predictions"][r]), of(f0) + K @ due, 1e-8, "training samples")
            close(of(found["test_predictions"][r]), of(g0) + T @ due, 1e-6, "test samples")
            close(of(found["test_predictions"][r]), of(g0) + T @ alpha, 1e-11, "K_test alpha")
    mse = np.mean((found["train_predictions"] - y)**2, axis=(1, 2))
    close(found["train_mse"], mse, 1e-12, "MSE")


def solve(folder, name, output, *words, ranks=1):
    return must(folder, "solve", "--kernel", name + ".h5", "--test-kernel", name + "_test.h5",
                "--output", output, *words, ranks=some_ranks(ranks))


def text_of(numbers):
    return ",".join(f"{x:g}" for x in numbers)


# ---- cases -----------------------------------------------------------------------------------


def check_kind(folder, name, ranks, method, *words, ridges=None):
    ridges = ridges or RIDGES
    output = f"S_{name}_{ranks}_{method}.h5"
    ended = solve(folder, name, output, "--ridge", text_of(ridges), "--method", method, *words,
                  ranks=ranks)
    outputs = [0, 2] if name == "selected" else None
    check_solution(folder, name, output, ridges, method, outputs=outputs)
    rows = ended.out.splitlines()
    expect(len(rows) == 1 + len(ridges) and "accuracy" in rows[0], f"the table: {ended.out}")
    predictions = read(os.path.join(folder, output), "test_predictions")
    labels = centred(folder, name, 1)[1]
    right = np.mean(np.array(outputs or range(O))[predictions.argmax(2)] == labels, axis=1)
    close(np.array([float(row.split()[4]) for row in rows[1:]]), right, 1e-4, "accuracy")


def check_targets(folder):
    """Real targets; no centre."""
    solve(folder, "trace", "S_targets.h5", "--labels", "targets.h5", "--center", "zero", "--ridge",
          "1e-4", "--quiet")
    check_solution(folder, "trace", "S_targets.h5", [1e-4], "zero",
                   read(os.path.join(folder, "targets.h5"), "labels"))
    solve(folder, "trace", "S_classes.h5", "--labels", "targets.h5:/classes", "--ridge", "1e-4")
    check_solution(folder, "trace", "S_classes.h5", [1e-4])
    solve(folder, "trace", "S_center.h5", "--center", "F.h5", "--test-center", "G.h5", "--ridge",
          "1e-4", "--ridge-scale", "absolute")
    (K, T, _), = matrices(folder, "trace")
    f0, g0 = (read(os.path.join(folder, name), "outputs") for name in ("F.h5", "G.h5"))
    alpha = np.linalg.solve(K + 1e-4 * np.eye(N), one_hot(centred(folder, "trace", 0)[1]) - f0)
    close(read(os.path.join(folder, "S_center.h5"), "test_predictions")[0], g0 + T @ alpha, 1e-9,
          "a centre of its own")


def check_times(folder, name, ranks, rate=0.5):
    """The closed form of neural-tangents' gradient_descent_mse: evals and evecs of K with its
    ridge, normalised by the number of targets."""
    times, output = [0, 30, 1e4, np.inf], f"S_times_{name}.h5"
    solve(folder, name, output, "--time", "0,30,1e4,inf", "--learning-rate", str(rate), "--ridge",
          "0,1e-3", ranks=ranks)
    f0, labels = centred(folder, name, 0)
    g0, _ = centred(folder, name, 1)
    test = read(os.path.join(folder, output), "test_predictions")
    train = read(os.path.join(folder, output), "train_predictions")
    expect(test.shape == (4, 2, TESTS, O) and train.shape == (4, 2, N, O), f"{test.shape}")
    residual = read(os.path.join(folder, output), "residual")
    expect(residual.shape == (4, 2) and residual.max() < 1e-9, f"residuals {residual}")
    for K, T, of in matrices(folder, name):
        for r, ridge in enumerate([0, 1e-3]):
            evals, V = np.linalg.eigh(K + ridge * np.trace(K) / len(K) * np.eye(len(K)))
            for t, time in enumerate(times):
                expm1 = np.expm1(-np.maximum(evals, 0) * rate * time / (N * O))
                error = V.T @ of(f0 - one_hot(labels))
                due = of(g0) + T @ (V @ ((expm1 / np.abs(evals))[:, None] * error))
                close(of(test[t, r]), due, 1e-8, f"test samples at time {time}")
                if ridge == 0:
                    due = of(f0) + V @ (expm1[:, None] * error)
                    close(of(train[t, r]), due, 1e-8, f"training samples at time {time}")


def check_peer(folder):
    """The network's file, samples and targets in, neural-tangents' predictions out. With a ridge
    ours of training samples are K alpha."""
    peer = np.load(os.path.join(GOLDEN, "predictions.npz"))
    for name, keys in (("peer", ("inputs", "targets")), ("peer_test", ("test_inputs",))):
        write_data(os.path.join(folder, name + ".h5"),
                   **dict(zip(("inputs", "labels"), (peer[key] for key in keys))))
    common = ["kernel", "--quiet", "--model", os.path.join(GOLDEN, "fcn.onnx"), "--dtype", "f64"]
    for kind, reduction in (("full", "none"), ("trace", "trace")):
        words = [*common, "--reduce", reduction, "--output"]
        must(folder, *words, f"peer_{kind}.h5", "--inputs", "peer.h5")
        must(folder, *words, f"peer_{kind}_test.h5", "--inputs", "peer_test.h5", "--inputs2",
             "peer.h5")
    kinds = list(peer["kinds"])
    expect(kinds == ["ensemble", "full", "full_zero", "trace", "trace_zero"], f"{kinds}")
    for i, kind in enumerate(kinds):
        name = "peer_" + kind.split("_")[0].replace("ensemble", "trace")
        center = "auto" if kind in ("full", "trace") else "zero"
        solve(folder, name, f"S_peer_{kind}.h5", "--time", text_of(peer["times"]), "--ridge",
              text_of(peer["ridges"]), "--learning-rate", str(peer["rate"]), "--center", center,
              "--quiet", ranks=1 + i % 2)
        for side, ridges in (("train", 1), ("test", len(peer["ridges"]))):
            found = read(os.path.join(folder, f"S_peer_{kind}.h5"), side + "_predictions")
            close(found[:, :ridges], peer[f"{kind}_{side}"][:, :ridges], 1e-8, f"{kind}, {side}")


def check_overlap(folder):
    """A kernel is the test kernel of its own samples, which is said."""
    ended = must(folder, "solve", "--kernel", "trace.h5", "--test-kernel", "trace.h5", "--ridge",
                 "1e-4", "--output", "S_overlap.h5")
    expect(any(f"{N} of {N} test samples are among" in line for line in ended.err), str(ended))
    train, test = (read(os.path.join(folder, "S_overlap.h5"), side + "_predictions")
                   for side in ("train", "test"))
    close(train, test, 1e-10, "predictions of the training samples")
    expect("--method eigen" not in str(ended), str(ended))


def spoiled(folder, name, output, change):
    shutil.copy(os.path.join(folder, name), os.path.join(folder, output))
    with h5py.File(os.path.join(folder, output), "r+") as file:
        change(file)


def negate(file):
    file["kernel"][5, 1, 5, 1] = -1


def forget(file):
    file["tiles/done"][0, 0] = 0
    file.attrs["complete"] = np.uint8(0)


def put_nan(file):
    file["kernel"][3, 8] = np.nan


def check_indefinite(folder):
    """The ridge that the message names does."""
    spoiled(folder, "full.h5", "indefinite.h5", negate)
    for method in ("cholesky", "eigen", "cg"):
        words = ["solve", "--kernel", "indefinite.h5", "--method", method, "--output", "S_ridge.h5"]
        for ranks in (1, some_ranks(3))[:2 if method == "cholesky" else 1]:
            ended = run(folder, *words, "--quiet", ranks=ranks)
            expect(ended.code == 3 and len(ended.err) == 1, str(ended))
            expect("not positive definite" in ended.err[0], str(ended))
        if method == "cg":
            continue
        ridge = re.search(r"--ridge (\S+) would do", ended.err[0]).group(1)
        must(folder, *words, "--ridge", ridge)
        os.remove(os.path.join(folder, "S_ridge.h5"))


REFUSED = [
    (["--kernel", "forgotten.h5"], 1, ["25 tiles are missing", "--resume"]),
    (["--kernel", "nan.h5"], 3, ["nan.h5", "samples 3 and 8"]),
    (["--kernel", "trace_test.h5"], 2, ["trace_test.h5", "--test-kernel"]),
    (["--kernel", "absent.h5"], 1, ["absent.h5"]),
    (["--kernel", "data.h5"], 1, ["data.h5", "not a kernel file"]),
    ([], 2, ["--kernel is missing"]),
    (["--kernel", "trace.h5", "--labels", "targets.h5:/short"], 2, ["39 samples", "40"]),
    (["--kernel", "trace.h5", "--labels", "targets.h5:/narrow"], 2, ["2 numbers", "3 outputs"]),
    (["--kernel", "trace.h5", "--labels", "targets.h5:/large"], 2, ["class 3 of sample 0"]),
    (["--kernel", "trace.h5", "--labels", "targets.h5:/nan"], 3, ["targets.h5", "4", "NaN"]),
    (["--kernel", "trace.h5", "--ridge", "-1"], 2, ["--ridge", "'-1'"]),
    (["--kernel", "trace.h5", "--ridge", "1e-3,x"], 2, ["--ridge", "1e-3,x"]),
    (["--kernel", "trace.h5", "--time", "1", "--method", "cg"], 2, ["--method cg", "--time"]),
    (["--kernel", "trace.h5", "--ridge", "1e-3", "--eigensolver", "scalapack"], 2,
     ["--eigensolver", "the method is cholesky"]),
    (["--kernel", "trace.h5", "--learning-rate", "1"], 2, ["--learning-rate", "--time"]),
    (["--kernel", "trace.h5", "--test-kernel", "other_test.h5"], 2,
     ["other_test.h5 does not belong to trace.h5", "model"]),
    (["--kernel", "trace.h5", "--test-kernel", "full_test.h5"], 2, ["reduction"]),
    (["--kernel", "later.h5", "--test-kernel", "trace_test.h5"], 2, ["training samples"]),
    (["--kernel", "single.h5", "--ridge", "1e-3", "--test-kernel", "full_test.h5"], 2, ["dtype"]),
    (["--kernel", "trace.h5", "--center", "G.h5"], 2, ["G.h5", "9 samples"]),
    (["--kernel", "trace.h5", "--memory", "10M"], 1, ["the cap is 10M (--memory); --memory "]),
    (["--kernel", "trace.h5", "--iterations", "1", "--method", "cg"], 3, ["not converged"]),
    (["--kernel", "trace.h5", "--method", "matrix-free"], 2,
     ["solve --method=matrix-free: unknown option --kernel"]),
]


def check_refused(folder, words, code, names, ranks):
    ended = run(folder, "solve", *words, "--quiet", "--output", "S_refused.h5",
                ranks=some_ranks(ranks))
    expect(ended.code == code and len(ended.err) == 1, f"exit is not {code}: {ended}")
    for name in names:
        expect(name in ended.err[0], f"'{name}' is not named: {ended}")
    expect(not any(f.startswith("S_refused") for f in os.listdir(folder)), f"output: {ended}")


def check_all_refused(folder):
    spoiled(folder, "trace.h5", "forgotten.h5", forget)
    spoiled(folder, "trace.h5", "nan.h5", put_nan)
    for i, (words, code, names) in enumerate(REFUSED):
        check_refused(folder, words, code, names, 2 if i % 8 == 0 else 1)
    must(folder, "solve", "--kernel", "trace.h5", "--output", "S_twice.h5", "--ridge", "1e-3")
    ended = run(folder, "solve", "--kernel", "trace.h5", "--output", "S_twice.h5")
    expect(ended.code == 1 and "S_twice.h5 exists" in ended.err[-1], str(ended))


def cases(folder):
    make_files(folder)
    yield "full, 2 ranks", lambda: check_kind(folder, "full", 2, "cholesky", "--nb", "7")
    yield "full, eigenvalues", lambda: check_kind(folder, "full", 3, "eigen", "--nb", "11")
    yield "full, cg", lambda: check_kind(folder, "full", 2, "cg", "--tolerance", "1e-13",
                                         ridges=[1e-3, 0.1])
    yield "by halves", lambda: check_kind(folder, "many", 1, "cholesky", "--nb", "17")
    yield "f32", lambda: check_kind(folder, "single", 1, "cholesky")
    yield "trace", lambda: check_kind(folder, "trace", 3, "cholesky", "--nb", "5")
    yield "trace, cg", lambda: check_kind(folder, "trace", 1, "cg", "--tolerance", "1e-13",
                                          ridges=[1e-3, 0.1])
    yield "trace, cg in two blocks", lambda: check_kind(
        folder, "trace", 3, "cg", "--tolerance", "1e-13", "--nb", "2", ridges=[1e-3])
    yield "pseudo", lambda: check_kind(folder, "pseudo", 1, "eigen", "--eigensolver", "scalapack")
    yield "diagonal", lambda: check_kind(folder, "diagonal", 2, "cholesky", "--nb", "3")
    yield "half", lambda: check_kind_half(folder)
    yield "selected outputs", lambda: check_kind(folder, "selected", 1, "auto")
    yield "targets", lambda: check_targets(folder)
    yield "times", lambda: check_times(folder, "full", 2)
    yield "times, trace", lambda: check_times(folder, "trace", 1)
    yield "times, neural-tangents", lambda: check_peer(folder)
    yield "overlap", lambda: check_overlap(folder)
    yield "indefinite", lambda: check_indefinite(folder)
    yield "refused", lambda: check_all_refused(folder)


def check_kind_half(folder):
    """The same kernel, stored by halves; its test kernel is that of the whole one."""
    must(folder, "solve", "--kernel", "half.h5", "--test-kernel", "full_test.h5", "--ridge",
         text_of(RIDGES), "--output", "S_half.h5", ranks=some_ranks(3))
    check_solution(folder, "full", "S_half.h5", RIDGES)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
