#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/plot makes pictures of the files that scantk writes, and what viewers look for (NXdata)
stands in them. Skipped without matplotlib."""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys

from program import expect, h5py, must, np, run_cases, write_data

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/plot")
KINDS = {"full": [], "trace": ["--reduce", "trace"], "diagonal": ["--reduce", "diagonal"],
         "pseudo": ["--reduce", "pseudo"], "columns": ["--inputs2", "data.h5", "--range2", "3:9"],
         "half": ["--store", "half"]}
SAMPLES, OUTPUTS = 12, 3


def load():
    """The script as a module: one start of matplotlib serves all cases."""
    loader = importlib.machinery.SourceFileLoader("plot", SCRIPT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("plot", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    module.STYLE["savefig.dpi"] = 50
    return module


def at(folder, name):
    return os.path.join(folder, name)


def make(folder):
    numbers = np.random.default_rng(3)
    must(folder, "model", "fcn", "--input", "5", "--width", "8", "--depth", "1", "--outputs",
         str(OUTPUTS), "-o", "m.onnx")
    write_data(at(folder, "data.h5"), inputs=numbers.standard_normal((SAMPLES, 5)),
               labels=np.arange(SAMPLES) % 3)
    for name, words in KINDS.items():
        must(folder, "kernel", "--model", "m.onnx", "--inputs", "data.h5", "--quiet", "--block",
             "5x2", "--group", "head=head.*", "--output", f"{name}.h5", *words)


def make_results(folder):
    """As spectrum, solve and the studies write them."""
    with h5py.File(at(folder, "e.h5"), "w") as file:
        file["eigenvalues"] = np.array([400, 20, 0.5, 1e-3, -1e-9])
        file["number"], file["summary"] = np.arange(5), '{"condition": null}'
    numbers = np.random.default_rng(4)
    for name, times in (("s.h5", {}), ("t.h5", {"time": np.array([1.0, 10, 100, np.inf])})):
        shape = (4, 2) if times else (2,)
        write_data(at(folder, name), ridge=np.array([0, 1e-2]), **times,
                   train_accuracy=numbers.uniform(size=shape),
                   test_accuracy=numbers.uniform(size=shape))
    with open(at(folder, "width.tsv"), "w", encoding="utf-8") as file:
        file.write("# remark\nwidth\tnetworks\tdeviation\tdeviation_error\tbias\tbias_error\n"
                   "64\t8\t0.2\t0.01\t0.04\t0.01\n256\t8\t0.1\t0.01\t0.01\t0.003\n"
                   "1024\t2\t0.05\t0.01\tnan\tnan\n")
    with open(at(folder, "c.tsv"), "w", encoding="utf-8") as file:
        file.write("activation\tdepth\twidth\tparameters\tcondition\tlargest\tsmallest\n"
                   "relu\t1\t8\t10\t50\t5\t0.1\nrelu\t2\t8\t10\t60\t6\t0.1\n"
                   "tanh\t1\t8\t10\t70\t7\t0.1\n")


def run(module, folder, *words):
    """Exit code and what it says."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = module.main([at(folder, w) if "." in w else w for w in words])
        except SystemExit as end:
            code = end.code
    return code, said.getvalue()


def check_pictures(module, folder):
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for number, words in enumerate([
            ["kernel", "trace.h5", "--normalize", "--group", "head"],
            ["kernel", "columns.h5", "--output", "1", "--order", "file"],
            ["spectrum", "e.h5", "e.h5"], ["accuracy", "t.h5"],
            ["width", "width.tsv"], ["conditioning", "c.tsv"]]):
        ending = list(heads)[number % 3]
        picture = f"{number}{ending}"
        code, said = run(module, folder, *words, "-o", picture)
        expect(code == 0 and ("eigenvalues are not positive" in said or not said), f"{words}: {said}")
        with open(at(folder, picture), "rb") as file:
            expect(file.read(5).startswith(heads[ending]), f"{picture}: is no picture")
        expect(os.path.getsize(at(folder, picture)) > 3000, f"{picture}: is empty")


def check_numbers(module, folder):
    """What is drawn is what stands in the file."""
    with h5py.File(at(folder, "full.h5")) as file:
        whole = file["kernel"][()].astype(float)
        kernel, axes = module.kernel_set(file, None)
        expect(module.strides(kernel, axes, 4) == [3, 3], "strides")
        due = np.einsum("nomo->nm", whole)[::3, ::3] / OUTPUTS
        expect(np.allclose(module.read_mean(kernel, axes, [3, 3], None), due), "mean")
        expect(np.allclose(module.read_mean(kernel, axes, [1, 1], 2), whole[:, 2, :, 2]), "output")
    with h5py.File(at(folder, "diagonal.h5")) as file:
        kernel, axes = module.kernel_set(file, None)
        expect(np.allclose(module.read_mean(kernel, axes, [3, 3], None), due), "diagonal")


def check_refused(module, folder):
    with h5py.File(at(folder, "pseudo.h5"), "r+") as file:
        file.attrs["complete"] = np.uint8(0)
    for words, code, text in [
            (["kernel", "half.h5"], 1, "holds half of a kernel"), (["kernel", "none.h5"], 1, "none.h5"),
            (["kernel", "pseudo.h5"], 1, "is not complete"), (["kernel", "e.h5"], 1, "there is no /kernel"),
            (["kernel", "full.h5", "--output", "3"], 1, "--output 3: there are 3"),
            (["kernel", "full.h5", "--group", "x"], 1, "no /groups/x/kernel"),
            (["kernel", "columns.h5", "--normalize"], 1, "--normalize"),
            (["spectrum", "full.h5"], 1, "are no /eigenvalues"),
            (["accuracy", "e.h5"], 1, "there is no /ridge"),
            (["width", "c.tsv"], 1, "no table of scripts/study-width")]:
        found, said = run(module, folder, *words, "-o", "never.png")
        expect(found == code and text in said and len(said.splitlines()) == 1, f"{words}: {said}")
    found, said = run(module, folder, "spectrum", "e.h5", "-o", "picture.bmp")
    expect(found == 2 and ".png, .pdf or .svg" in said, said)
    expect(not os.path.exists(at(folder, "never.png")), "a picture of nothing")


def check_group(group, size):
    """NXdata: the signal, a scale in the same group for each axis."""
    expect(group.attrs["NX_class"] == b"NXdata" and group.attrs["signal"] == b"kernel", group.name)
    names = [name.decode() for name in group.attrs["axes"]]
    expect([len(group[name]) for name in names] == list(group["kernel"].shape), f"{names}: {size}")
    expect(all("long_name" in group[name].attrs for name in [*names, "kernel"]), "long_name")


def check_viewers(folder):
    for kind in KINDS:
        with h5py.File(at(folder, f"{kind}.h5")) as file:
            if kind == "half":
                expect("NX_class" not in file.attrs, "tiles are plotted")
            else:
                check_group(file, kind)
                check_group(file["groups/head"], kind)


def cases(folder):
    module = load()
    make(folder)
    make_results(folder)

    def check_script():
        """One after the other: pyplot is not for threads."""
        for check in (check_pictures, check_numbers, check_refused):
            check(module, folder)
    yield "script", check_script
    yield "viewers", lambda: check_viewers(folder)


if __name__ == "__main__":
    if not importlib.util.find_spec("matplotlib"):
        print("skipped: matplotlib is missing")
        sys.exit(77)
    sys.exit(run_cases(cases))
