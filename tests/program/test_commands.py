#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 600
"""The commands as a user runs them: what they print and write, how they are stopped."""
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

from program import (MAX_RANKS, SCANTK, Failure, Started, check_checksums, environment, expect,
                     h5py, must, np, read, run, run_cases, values_of, write_data)

OPTIONS = {
    "model": "input width depth patch heads vocabulary head stem norm outputs activation "
             "parameterization weight-variance bias-scale ensemble seed output",
    "dataset": "images labels range divide scale normalize transpose flatten shuffle per-class "
               "classes output",
    "info": "json param freeze only tied parameters-from-constants batch-axis shape",
    "forward": "model inputs output dtype accuracy range freeze",
    "solve": "kernel labels test-kernel test-labels ridge ridge-scale time learning-rate center "
             "test-center method tolerance iterations nb memory output",
    "solve --method matrix-free":
             "method model inputs test-inputs test-range output max-time stop-code quiet dtype "
             "reduce select-outputs memory labels test-labels ridge ridge-scale center tolerance "
             "iterations landmarks seed checkpoint resume range freeze",
    "linearize": "model inputs solution test-inputs test-range output dtype reduce memory "
                 "select-outputs test-labels center range freeze",
    "features": "model inputs output range freeze dim seed kind reduce dtype select-outputs "
                "cotangents memory",
    "solve --features": "features output labels test-features test-labels ridge ridge-scale center",
    "kernel": "model inputs inputs2 range range2 output quiet algorithm reduce trace-scale dtype "
              "select-outputs cotangents cotangents2 param freeze only tied "
              "parameters-from-constants batch-axis shape "
              "grid block memory plan write-plan rates recalibrate explain store reserve io-hint "
              "log-json resume max-time "
              "stop-code"}
KERNEL = ["kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--output"]
PROVENANCE = ("format program command date hosts ranks threads mpi hdf5 blas model model_sha256 "
              "parameters_digest parameters inputs1 algorithm dtype reduction reduction_scale "
              "grid block").split()


def in_folder(folder, name):
    return os.path.join(folder, name)


# ---- what every command has ----------------------------------------------------------------------


def check_version(folder):
    out = must(folder, "--version").out
    expect(re.fullmatch(r"scantk \d+\.\d+\.\d+ \(.+\)\n", out), f"--version says {out!r}")


def check_help(folder):
    general = must(folder, "--help").out
    for command, options in OPTIONS.items():
        expect(f"scantk {command.split()[0]} " in general, f"--help does not name {command}")
        out = must(folder, *command.split(), "--help").out
        listed = re.findall(r"^  --(\S+)", out, re.MULTILINE)
        expect(len(set(listed)) == len(listed), f"{command} --help lists an option twice")
        for option in options.split():
            expect(option in listed, f"{command} --help does not list --{option}")
    once = must(folder, "kernel", "--help", ranks=min(3, MAX_RANKS)).out
    expect(once == must(folder, "kernel", "--help").out, "each rank prints the help")


def check_wrong_commands(folder):
    nothing = run(folder)
    expect(nothing.code == 2 and nothing.err, str(nothing))
    for words, name in [(["kernal"], "kernal"), (["--kernel"], "--kernel"), (["info"], "info"),
                        (["model", "--output", "m.onnx"], "model"),
                        (["model", "mlp", "--output", "m.onnx"], "mlp"),
                        (["model", "fcn"], "--output"),
                        (["model", "fcn", "--width", "0", "--output", "m.onnx"], "--width"),
                        (["dataset", "--output", "d.h5"], "--images"),
                        (["info", "fcn.onnx", "cnn.onnx"], "cnn.onnx"),
                        (["info", "data.h5", "--freeze", "*"], "--freeze"),
                        ([*KERNEL, ""], "--output"),
                        ([*KERNEL, "n.h5", "--trace-scale", "sum"], "--trace-scale"),
                        ([*KERNEL, "n.h5", "--rates", "r.txt", "--recalibrate"], "--rates")]:
        ended = run(folder, *words)
        expect(ended.code == 2 and len(ended.err) == 1 and name in ended.err[0] and
               ended.err[0].startswith("scantk: error: "), str(ended))


def cached(folder):
    """Name and text of the cache's one file."""
    names = os.listdir(os.path.join(folder, "cache"))
    expect(len(names) == 1, f"the cache has {names}")
    with open(os.path.join(folder, "cache", names[0]), encoding="utf-8") as file:
        return names[0], file.read()


def check_rates(folder):
    """A kernel that takes long enough has its orders tried, once; a file of rates is taken as it
    is, and plans made from the same rates give the same bytes."""
    own = os.path.join(folder, "rates")  # with a cache of its own
    os.makedirs(own)

    def kernel(output, *words, ranks=1):
        must(own, "kernel", "--model", "../long.onnx", "--inputs", "../long.h5:/twice", "--output",
             output, *words, ranks=ranks)
        return read(os.path.join(own, output), "kernel").tobytes()
    first = kernel("first.h5", ranks=min(2, MAX_RANKS))
    name, text = cached(own)
    lines = text.splitlines()
    timings = [line for line in lines if line.startswith("timing ")]
    expect(any(" inside-out " in line for line in timings) and
           any(" sweep " in line for line in timings), f"not tried: {text}")
    expect(kernel("second.h5") == first, "cached rates do not give the same bytes")
    expect(cached(own) == (name, text), "what was measured is measured again")
    expect(kernel("third.h5", "--rates", "cache/" + name) == first,
           "a file of the same rates does not give the same bytes")
    untimed = "".join(line + "\n" for line in lines if line not in timings)
    with open(os.path.join(own, "untimed"), "w", encoding="utf-8") as file:
        file.write(untimed)
    kernel("fourth.h5", "--rates", "untimed")
    with open(os.path.join(own, "untimed"), encoding="utf-8") as file:
        expect(file.read() == untimed, "--rates FILE is written to")
    expect(cached(own) == (name, text), "--rates changes the cache")
    shutil.rmtree(own)


def check_full_device(folder):
    """Words that cannot be printed are a failure."""
    for words in (["info", "fcn.onnx"], ["kernel", "--help"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([SCANTK, *words], cwd=folder, env=environment(folder),
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        expect(done.returncode == 1 and "stdout" in done.stderr, f"{words}: {done}")


UNUSABLE = [
    ("absent.h5", ["info", "absent.h5"]),
    ("noise", ["info", "noise"]),
    ("noise", ["forward", "--model", "noise", "--inputs", "data.h5", "--output", "n.h5"]),
    ("noise", ["forward", "--model", "fcn.onnx", "--inputs", "noise", "--output", "n.h5"]),
    ("data.h5", ["forward", "--model", "fcn.onnx", "--inputs", "data.h5", "--output", "data.h5"]),
    ("absent/n.h5", ["forward", "--model", "fcn.onnx", "--inputs", "data.h5", "--output",
                     "absent/n.h5"]),
    ("noise", ["dataset", "--images", "noise", "--output", "n.h5"]),
    ("noise", ["dataset", "--images", "images.npy", "--labels", "noise", "--output", "n.h5"]),
    ("data.h5", ["dataset", "--images", "images.npy", "--output", "data.h5"]),
    ("absent/n.h5", ["dataset", "--images", "images.npy", "--output", "absent/n.h5"]),
    ("absent/m.onnx", ["model", "fcn", "--output", "absent/m.onnx"])]


def check_unusable_files(folder):
    with open(in_folder(folder, "data.h5"), "rb") as file:
        before = file.read()
    for name, words in UNUSABLE:
        for ranks in (1, min(2, MAX_RANKS)):
            ended = run(folder, *words, ranks=ranks)
            expect(ended.code == 1 and len(ended.err) == 1 and name in ended.err[0] and
                   ended.err[0].startswith("scantk: error: "), str(ended))
    for name in ("n.h5", "n.h5.new", "n.h5.part"):
        expect(not os.path.exists(in_folder(folder, name)), f"{name} was left")
    with open(in_folder(folder, "data.h5"), "rb") as file:
        expect(file.read() == before, "data.h5 was changed")


# ---- models --------------------------------------------------------------------------------------


def dense(inputs, outputs):
    return inputs * outputs + outputs


def conv(inputs, outputs, side):
    return inputs * outputs * side * side + outputs


def resnet18(width, outputs):
    count, inputs = conv(3, width, 3), width
    for channels in (width, 2 * width, 4 * width, 8 * width):
        count += conv(inputs, channels, 3) + 3 * conv(channels, channels, 3)
        count += conv(inputs, channels, 1) if inputs != channels else 0
        inputs = channels
    return count + dense(inputs, outputs)


def vit(patches, width, depth, outputs):
    block = (4 * width + dense(width, 3 * width) + dense(width, width) + dense(width, 4 * width) +
             dense(4 * width, width))
    return conv(3, width, 4) + (patches + 2) * width + depth * block + 2 * width + dense(
        width, outputs)


FAMILIES = [
    ("fcn", ["--input", "12", "--width", "8", "--depth", "2", "--outputs", "3"],
     dense(12, 8) + dense(8, 8) + dense(8, 3)),
    ("cnn", ["--input", "2x6x6", "--width", "4", "--depth", "2", "--outputs", "3"],
     conv(2, 4, 3) + conv(4, 4, 3) + dense(4, 3)),
    ("lenet5", [], conv(1, 6, 5) + conv(6, 16, 5) + dense(400, 120) + dense(120, 84) +
     dense(84, 10)),
    ("resnet18", ["--width", "4", "--outputs", "3"], resnet18(4, 3)),
    ("mixer", ["--input", "3x8x8", "--width", "8", "--depth", "1"], conv(3, 8, 4) + 4 * 8 +
     2 * dense(4, 4) + dense(8, 32) + dense(32, 8) + 2 * 8 + dense(8, 10)),
    ("vit", ["--input", "3x8x12", "--width", "12", "--heads", "2", "--depth", "2"],
     vit(6, 12, 2, 10))]


def check_family(folder, family, options, parameters):
    made = itertools.product(("relu", "gelu", "tanh", "erf", "identity"), ("standard", "ntk"))
    for number, (activation, parameterization) in enumerate(made):
        name = f"{family}-{activation}-{parameterization}.onnx"
        must(folder, "model", family, *options, "--activation", activation, "--parameterization",
             parameterization, "--seed", str(number), "--output", name)
        words = must(folder, "info", name).out
        expect(re.search(rf"^parameters +{parameters} in \d+ tensors$", words, re.MULTILINE),
               f"info {name} does not say {parameters} parameters: {words}")
    facts = json.loads(must(folder, "info", name, "--json").out)
    expect(facts["parameters"] == parameters and facts["kind"] == "model", f"{name}: {facts}")
    narrow = json.loads(must(folder, "info", name, "--json", "--freeze", "*.bias").out)
    count = sum(int(np.prod(t["shape"])) for t in facts["tensors"] if t["name"].endswith(".bias"))
    expect(0 < count == parameters - narrow["parameters"], f"{name} without biases: {narrow}")
    count = sum(int(np.prod(t["shape"])) for t in facts["tensors"] if t["parameter"])
    expect(count == parameters, f"{name}: the tensors listed have {count} parameters")
    for seed, same in (("9", True), ("8", False)):
        must(folder, "model", family, *options, "--activation", "identity", "--parameterization",
             "ntk", "--seed", seed, "--output", "again-" + name)
        contents = [open(in_folder(folder, n), "rb").read() for n in (name, "again-" + name)]
        expect((contents[0] == contents[1]) == same, f"{name}: seed {seed}, same bytes: {not same}")
        os.remove(in_folder(folder, "again-" + name))


def check_families(folder):
    """Help lists them with their defaults; an unknown one is refused with their names."""
    listed = re.findall(r"^  (\w+) +input \S+,", must(folder, "model", "--help").out, re.MULTILINE)
    expect(listed[0] == "fcn" and {f[0] for f in FAMILIES} < set(listed), str(listed))
    error = run(folder, "model", "mlp", "--output", "m.onnx").err
    expect(len(error) == 1 and ", ".join(listed) in error[0], str(error))


def check_ensemble(folder):
    out = must(folder, "model", "fcn", "--input", "3", "--width", "4", "--seed", "7", "--ensemble",
               "2", "--output", "many.x.onnx", ranks=min(2, MAX_RANKS)).out
    expect(out.splitlines() == ["many.x-0.onnx  fcn, seed 7", "many.x-1.onnx  fcn, seed 8"], out)
    for name in ("many.x-0.onnx", "many.x-1.onnx"):
        must(folder, "info", name)


# ---- data ----------------------------------------------------------------------------------------


def check_dataset(folder):
    images, labels = (np.load(in_folder(folder, n)) for n in ("images.npy", "labels.npy"))
    must(folder, "dataset", "--images", "images.npy", "--labels", "labels.npy", "--divide", "255",
         "--transpose", "2,0,1", "--range", "2:25", "--per-class", "3", "--output", "some.h5")
    taken = []
    for i in range(2, 25):
        if sum(labels[k] == labels[i] for k in taken) < 3:
            taken.append(i)
    found = read(in_folder(folder, "some.h5"), "inputs")
    expected = images[taken].transpose(0, 3, 1, 2) / 255
    expect(found.shape == expected.shape and np.abs(found - expected).max() < 1e-6, "other values")
    expect((read(in_folder(folder, "some.h5"), "labels") == labels[taken]).all(), "other labels")
    words = must(folder, "info", "some.h5").out
    expect(re.search(rf"^samples +{len(taken)}$", words, re.MULTILINE) and "[3, 6, 4]" in words,
           words)
    facts = json.loads(must(folder, "info", "some.h5", "--json").out)
    expect(facts["samples"] == len(taken) and facts["shape"] == [3, 6, 4], str(facts))


def check_idx(folder):
    images, labels = (np.load(in_folder(folder, n)) for n in ("images.npy", "labels.npy"))
    grey = images[..., 0]
    with gzip.open(in_folder(folder, "idx3.gz"), "wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, *grey.shape) + grey.tobytes())
    with open(in_folder(folder, "idx1"), "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.astype("u1").tobytes())
    must(folder, "dataset", "--images", "idx3.gz", "--labels", "idx1", "--flatten", "--output",
         "idx.h5", ranks=min(2, MAX_RANKS))
    found = read(in_folder(folder, "idx.h5"), "inputs")
    expect((found == grey.reshape(len(grey), -1)).all(), "other values than the IDX file's")
    expect((read(in_folder(folder, "idx.h5"), "labels") == labels).all(), "other labels")


# ---- forward -------------------------------------------------------------------------------------


def expected_outputs(folder):
    """The FCN in numpy, from the parameters in the file."""
    with open(in_folder(folder, "fcn.onnx"), "rb") as file:
        model = file.read()
    values = read(in_folder(folder, "data.h5"), "inputs")
    for layer in ("hidden0", "hidden1", "head"):
        first, end = values_of(model, layer + ".weight")
        weight = np.frombuffer(model[first:end], "<f4").astype(np.float64)
        first, end = values_of(model, layer + ".bias")
        bias = np.frombuffer(model[first:end], "<f4").astype(np.float64)
        values = values @ weight.reshape(len(bias), -1).T + bias
        values = values if layer == "head" else np.maximum(values, 0)
    return values


def check_forward(folder):
    expected = expected_outputs(folder)
    labels = read(in_folder(folder, "data.h5"), "labels")
    share = (expected.argmax(1) == labels).mean()
    for ranks, dtype, tolerance in [(1, "f64", 1e-13), (min(3, MAX_RANKS), "f64", 1e-13),
                                    (1, "f32", 1e-5)]:
        name = f"forward-{ranks}-{dtype}.h5"
        out = must(folder, "forward", "--model", "fcn.onnx", "--inputs", "data.h5", "--output",
                   name, "--dtype", dtype, "--accuracy", ranks=ranks).out
        found = read(in_folder(folder, name), "outputs")
        error = np.abs(found - expected).max() / np.abs(expected).max()
        expect(found.shape == expected.shape and error < tolerance, f"{name}: off by {error:.1e}")
        expect((read(in_folder(folder, name), "labels") == labels).all(), f"{name}: labels")
        said = re.fullmatch(r"accuracy +(\S+)\n", out)
        expect(said and abs(float(said[1]) - share) < 1e-5, f"accuracy {share} is called {out!r}")
    out = must(folder, "forward", "--model", "fcn.onnx", "--inputs", "data.h5:/unlabelled",
               "--output", "unlabelled.h5", "--accuracy").out
    expect("unknown" in out, f"accuracy without labels: {out!r}")


# ---- kernel --------------------------------------------------------------------------------------


def check_kernel_file(folder):
    """/outputs, scales, labels and provenance of a kernel of some samples and outputs."""
    words = ["kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--range", "3:26", "--range2",
             "30:40", "--select-outputs", "4,1:3", "--dtype", "f64", "--block", "8x2", "--output",
             "some-outputs.h5"]
    must(folder, *words, ranks=min(2, MAX_RANKS))
    path, outputs = in_folder(folder, "some-outputs.h5"), expected_outputs(folder)
    for side, samples in (("1", np.arange(3, 26)), ("2", np.arange(30, 40))):
        error = np.abs(read(path, "outputs" + side) - outputs[samples][:, [4, 1, 2]]).max()
        expect(error < 1e-12, f"/outputs{side}: off by {error:.1e}")
        expect((read(path, "sample" + side) == samples).all(), f"/sample{side}")
        expect((read(path, "output" + side) == [4, 1, 2]).all(), f"/output{side}")
        labels = read(in_folder(folder, "data.h5"), "labels")[samples]
        expect((read(path, "labels" + side) == labels).all(), f"/labels{side}")
    with h5py.File(path, "r") as file:
        labels = [axis.label or axis.keys()[0] for axis in file["kernel"].dims]
    expect(labels == ["sample1", "output1", "sample2", "output2"], f"scales {labels}")
    check_provenance(folder, path, words)


def check_provenance(folder, path, words):
    note = json.loads(read(path, "provenance"))
    for name in (*PROVENANCE, "inputs2"):
        expect(note.get(name) not in (None, "", []), f"provenance: {name} is missing")
    with open(in_folder(folder, "fcn.onnx"), "rb") as file:
        expect(note["model_sha256"] == hashlib.sha256(file.read()).hexdigest(), "model_sha256")
    expect(note["command"].endswith(" ".join(words)), f"command is {note['command']}")
    expect(note["ranks"] == min(2, MAX_RANKS) and note["threads"] == 1, f"ranks: {note}")
    expect((note["dtype"], note["reduction"], note["block"]) == ("f64", "none", [8, 2]), str(note))
    expect(re.search(r"\(.+\)", note["program"]), f"program is {note['program']}, without commit")
    for side, bounds in (("1", [3, 26]), ("2", [30, 40])):
        inputs = note["inputs" + side]
        expect(inputs["range"] == bounds and inputs["path"] == "data.h5", str(inputs))
        pairs = read(path, "digest" + side)
        total = sum(int(low) + (int(high) << 64) for low, high in pairs) % (1 << 128)
        expect(int(inputs["digest"], 16) == total, f"digest of inputs{side}")


def check_same_outputs(folder):
    """x2 = x1: /outputs1 and /outputs2 are those of `forward`."""
    must(folder, "kernel", "--model", "cnn.onnx", "--inputs", "data.h5:/images", "--dtype", "f64",
         "--block", "7", "--reduce", "trace", "--output", "trace.h5")
    must(folder, "forward", "--model", "cnn.onnx", "--inputs", "data.h5:/images", "--dtype", "f64",
         "--output", "forward-cnn.h5")
    expected = read(in_folder(folder, "forward-cnn.h5"), "outputs")
    for name in ("outputs1", "outputs2"):
        error = np.abs(read(in_folder(folder, "trace.h5"), name) - expected).max()
        expect(error < 1e-12, f"/{name} and forward's outputs differ by {error:.1e}")
    facts = json.loads(must(folder, "info", "trace.h5", "--json").out)
    diagonal = np.diag(read(in_folder(folder, "trace.h5"), "kernel"))
    expect(facts["complete"] and facts["symmetric"] and facts["asymmetry"] == 0, str(facts))
    expect(facts["shape"] == [40, 40] and facts["diagonal"] == [diagonal.min(), diagonal.max()] and
           abs(facts["trace"] / diagonal.sum() - 1) < 1e-12, str(facts))
    words = must(folder, "info", "trace.h5").out
    expect("to the bit" in words and "36 of 36 done" in words, words)


def check_explain(folder):
    for network, inputs in (("fcn", "data.h5"), ("cnn", "data.h5:/images")):
        plan, name = network + ".plan", network + "-explain.h5"
        out = must(folder, "kernel", "--model", network + ".onnx", "--inputs", inputs, "--output",
                   name, "--explain", "--quiet", "--write-plan", plan,
                   ranks=min(2, MAX_RANKS)).out
        with open(in_folder(folder, plan), encoding="utf-8") as file:
            planned = re.findall(r"^order (\S+) .* (\S+)$", file.read(), re.MULTILINE)
        header = out.splitlines().index(next(l for l in out.splitlines() if l.startswith("order ")))
        rows = [line.split() for line in out.splitlines()[header + 1:]][:len(planned)]
        expect(len(planned) > 2, f"{plan}: {planned}")
        expect([(row[0], row[-1]) for row in rows] == planned, f"rows are {rows}, not {planned}")
        expect(all(float(row[row.index("s") + 1]) > 0 for row in rows), f"not measured: {out}")
        expect("minimal flops" in out, out)
    out = must(folder, "kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--output",
               "products.h5", "--explain", "--quiet", "--algorithm", "ntvp").out
    row = next(line.split() for line in out.splitlines() if line.startswith("products "))
    expect(all(float(row[row.index("s") + i]) > 0 for i in (-1, 1)), f"no seconds: {out}")


# ---- stopping ------------------------------------------------------------------------------------


def start_long_run(folder, name, ranks):
    """A run of minutes, once its file is there."""
    started = Started(folder, "kernel", "--model", "long.onnx", "--inputs", "long.h5",
                      "--algorithm", "ntvp", "--block", "4", "--quiet", "--output", name,
                      ranks=ranks)
    deadline = time.monotonic() + 60
    while not os.path.exists(in_folder(folder, name + ".part")):
        if started.process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"no {name}.part: {started.end()}")
        time.sleep(0.01)
    time.sleep(0.5)
    return started


def check_stop(folder, number, ranks):
    """A signal ends the run with exit 75; what is left says that it is not complete."""
    name = f"stopped-{number.name}-{ranks}.h5"
    started = start_long_run(folder, name, ranks)
    started.send(number)
    ended = started.end(60)
    expect(ended.code == 75, f"exit is not 75: {ended}")
    expect(len(ended.err) == 1 and ended.err[0].startswith("scantk: stopped"), str(ended))
    check_part(folder, name)


def check_part(folder, name):
    path = in_folder(folder, name + ".part")
    expect(not os.path.exists(in_folder(folder, name)), f"{name} looks whole")
    with h5py.File(path, "r") as file:
        expect(file.attrs["complete"] == 0, f"{path}: complete is not 0")
        done = file["tiles/done"][()]
        expect(0 < done.sum() < done.size, f"{path}: {done.sum()} of {done.size} tiles are done")
    check_checksums(path)
    words = must(folder, "info", name).out
    expect(f"{done.sum()} of {done.size} done; NOT complete" in words, words)
    facts = json.loads(must(folder, "info", name, "--json").out)
    expect(facts["complete"] is False and facts["done"] == done.sum(), str(facts))
    again = run(folder, "kernel", "--model", "long.onnx", "--inputs", "long.h5", "--output", name,
                "--quiet")
    expect(again.code == 1 and len(again.err) == 1 and name + ".part" in again.err[0], str(again))


def check_term_of_many(folder):
    """mpirun passes TERM on and waits a moment: nothing that looks whole, no hang."""
    started = start_long_run(folder, "term.h5", min(3, MAX_RANKS))
    started.send(signal.SIGTERM)
    ended = started.end(60)
    expect(ended.code != 0, f"exit is 0: {ended}")
    expect(not os.path.exists(in_folder(folder, "term.h5")), "term.h5 looks whole")


def check_signal_elsewhere(folder):
    """A command that has nothing to finish just ends. A pipe that nobody fills holds it."""
    os.mkfifo(in_folder(folder, "pipe"))
    started = Started(folder, "forward", "--model", "fcn.onnx", "--inputs", "pipe", "--output",
                      "piped.h5")
    time.sleep(2)
    expect(started.process.poll() is None, f"does not wait for the pipe: {started.words}")
    started.send(signal.SIGINT)
    expect(started.end(20).code == -signal.SIGINT, "forward does not end at SIGINT")


# ---- all -----------------------------------------------------------------------------------------


def make_inputs(folder):
    random = np.random.default_rng(4)
    must(folder, "model", "fcn", "--input", "12", "--width", "16", "--depth", "2", "--outputs",
         "5", "--output", "fcn.onnx")
    must(folder, "model", "cnn", "--input", "1x6x6", "--width", "4", "--depth", "2", "--outputs",
         "5", "--output", "cnn.onnx")
    must(folder, "model", "fcn", "--input", "64", "--width", "256", "--depth", "2", "--outputs",
         "10", "--output", "long.onnx")
    write_data(in_folder(folder, "data.h5"), inputs=random.normal(size=(40, 12)),
               images=random.normal(size=(40, 1, 6, 6)), labels=random.integers(0, 5, 40),
               unlabelled=random.normal(size=(30, 12)))
    write_data(in_folder(folder, "long.h5"), inputs=random.normal(size=(400, 64)),
               twice=random.normal(size=(1400, 64)))
    np.save(in_folder(folder, "images.npy"), random.integers(0, 256, (30, 6, 4, 3)).astype("u1"))
    np.save(in_folder(folder, "labels.npy"), random.integers(0, 5, 30))
    with open(in_folder(folder, "noise"), "wb") as file:
        file.write(bytes(random.integers(0, 256, 5000).astype("u1")))
    must(folder, "kernel", "--model", "fcn.onnx", "--inputs", "data.h5", "--output", "rates.h5")


def cases(folder):
    make_inputs(folder)
    checks = [check_version, check_help, check_wrong_commands, check_unusable_files, check_families,
              check_ensemble, check_dataset, check_idx, check_forward, check_kernel_file, check_same_outputs, check_explain, check_rates,
              check_full_device, check_signal_elsewhere]
    for number, ranks in [(signal.SIGUSR1, 1), (signal.SIGUSR1, 2), (signal.SIGTERM, 1),
                          (signal.SIGINT, 1), (signal.SIGUSR2, 3)]:
        if ranks <= MAX_RANKS:
            yield (f"{number.name} to {ranks}",
                   lambda n=number, r=ranks: check_stop(folder, n, r))
    yield "SIGTERM to mpirun", lambda: check_term_of_many(folder)
    for check in checks:
        yield check.__name__, lambda c=check: c(folder)
    for family, options, parameters in FAMILIES:
        yield (f"model {family}", lambda a=(family, options, parameters):
               check_family(folder, *a))


if __name__ == "__main__":
    sys.exit(run_cases(cases))
