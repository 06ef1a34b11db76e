#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 900
"""Stopping and going on: any way of stopping, any ranks and grid afterwards, the same bytes of
/kernel in the end; what is not of the same kernel is refused by name."""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"  # the test looks into files that are written
from program import (MAX_RANKS, SCANTK, Failure, Started, check_checksums, environment, expect,
                     h5py, must, np, read, run, run_cases, write_data)

N = 48
BASE = ["kernel", "--model", "net.onnx", "--inputs", "data.h5", "--range", f"0:{N}"]
# enough work for a stop to come in between, in tiles that divide nothing
KINDS = {"full": ["--block", "5x4"], "trace": ["--reduce", "trace", "--block", "5x4"],
         "diagonal": ["--reduce", "diagonal", "--block", "7x4", "--dtype", "f64"],
         "pseudo": ["--reduce", "pseudo", "--block", "1"],
         "columns": ["--inputs2", "data.h5:/others", "--block", "6x10"],
         "parts": ["--range2", f"{N}:{N + 40}", "--reduce", "trace", "--block", "5x3"]}


def at(folder, name):
    return os.path.join(folder, name)


def done_of(path):
    with h5py.File(path, "r") as file:
        return file["tiles/done"][()]


def wait_for(started, path, some=lambda done: done.sum() > 0):
    """Until the file has tiles as wanted; a run that ends before was too short to be stopped."""
    deadline = time.monotonic() + 60
    while True:
        if started.process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"nothing to stop: {started.end()}")
        if os.path.exists(path):
            try:
                if some(done_of(path)):
                    return
            except OSError:  # renamed this moment
                pass
        time.sleep(0.01)


def check_stopped(folder, ended, output, reason, code=75):
    """Exit code and last line; the marks are of right tiles; the counts those of the file."""
    expect(ended.code == code, f"exit is not {code}: {ended}")
    line = ended.err[-1] if ended.err else ""
    found = re.fullmatch(rf"scantk: stopped \({reason}\) at (\d+) of (\d+) tiles; continue with: "
                         r"(.*)", line)
    expect(found, f"no last line of a stop ({reason}): {ended}")
    done = done_of(at(folder, output + ".part"))
    expect((done.sum(), done.size) == (int(found[1]), int(found[2])), f"{line}: {done.sum()}")
    expect(not os.path.exists(at(folder, output)), f"{output} looks whole")
    check_checksums(at(folder, output + ".part"))
    return found[3]


def stop_by_signal(folder, words, output, ranks, number):
    started = Started(folder, *words, ranks=ranks)
    wait_for(started, at(folder, output + ".part"))
    started.send(number)
    return check_stopped(folder, started.end(60), output, number.name[3:])


def stop_by_file(folder, words, output, ranks):
    """The file is there from the start, so that no run is too fast for it."""
    with open(at(folder, output + ".stop"), "w", encoding="utf-8"):
        pass
    check_stopped(folder, run(folder, *words, ranks=ranks), output, "OUTPUT.stop")
    expect(not os.path.exists(at(folder, output + ".stop")), "OUTPUT.stop is still there")


def reference(folder, kind):
    """The kernel of an undisturbed run, made once, and its plan."""
    path = at(folder, kind + ".h5")
    if not os.path.exists(path):
        must(folder, *BASE, *SLOW, *KINDS[kind], "--output", kind + ".h5", "--write-plan",
             kind + ".plan", "--quiet")
    return path


SLOW = ["--algorithm", "ntvp"]


def check_same(folder, kind, output):
    expected, found = read(reference(folder, kind), "kernel"), read(at(folder, output), "kernel")
    expect(found.dtype == expected.dtype and found.tobytes() == expected.tobytes(),
           f"{output}: {(found != expected).sum()} of {found.size} entries differ")
    with h5py.File(at(folder, output), "r") as file:
        expect(file.attrs["complete"] == 1 and (file["tiles/done"][()] == 1).all(), output)
        for side in ("outputs1", "outputs2", "labels1"):
            same = read(reference(folder, kind), side)
            expect((file[side][()] == same).all(), f"{output}: {side} differs")
    check_checksums(at(folder, output))
    expect(not os.path.exists(at(folder, output + ".part")), f"{output}.part is left")


def check_kind(folder, kind, layouts, number):
    """Stopped by a signal, by a file, by the time; each time on other ranks."""
    output = f"stopped-{kind}.h5"
    words = [*BASE, *SLOW, *KINDS[kind], "--output", output, "--quiet"]
    (first, grid), (second, second_grid), (third, third_grid) = layouts
    stop_by_signal(folder, [*words, "--plan", kind + ".plan", *grid], output, first, number)
    stop_by_file(folder, [*words, "--resume", *second_grid], output, second)
    limited = run(folder, *words, "--resume", "--max-time", "00:00:01", *third_grid, ranks=third)
    if limited.code != 0:
        check_stopped(folder, limited, output, "max-time")
        must(folder, *words, "--resume", ranks=first)
    check_same(folder, kind, output)


def check_command(folder):
    """The command that the last line tells goes on; the code is that of --stop-code."""
    output = "it's so.h5"
    started = Started(folder, *BASE, *SLOW, *KINDS["full"], "--plan", "full.plan", "--output",
                      output, "--quiet", "--stop-code", "9")
    wait_for(started, at(folder, output + ".part"))
    started.send(signal.SIGUSR2)
    line = check_stopped(folder, started.end(60), output, "USR2", 9)
    done = subprocess.run(line, shell=True, cwd=folder, env=environment(folder), check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    expect(done.returncode == 0 and "--resume" in shlex.split(line), f"{line}: {done}")
    expect(shlex.split(line)[0] == SCANTK, line)
    check_same(folder, "full", output)


# ---- what is refused -----------------------------------------------------------------------------

REFUSED = [
    (["--model", "other.onnx"], "model"),
    (["--model", "cnn.onnx", "--inputs", "data.h5:/images"], "model"),
    (["--freeze", "*.bias"], "parameters"),
    (["--inputs", "data.h5:/others"], "samples of the rows"),
    (["--range", f"1:{N + 1}"], "range"),
    (["--range", f"0:{N - 1}"], "range"),
    (["--range2", f"0:{N}"], "range2"),
    (["--inputs2", "data.h5:/others"], "range2"),
    (["--select-outputs", "0:9"], "outputs"),
    (["--cotangents", "data.h5:/cotangents"], "cotangents"),
    (["--reduce", "trace"], "reduction"),
    (["--dtype", "f64"], "dtype"),
    (["--algorithm", "structured"], "algorithm"),
    (["--block", "6x4"], "--block 6x4"),
    (["--plan", "pseudo.plan"], "reduction"),
    (["--plan", "six.plan"], "--plan six.plan"),
]
REFUSED_OF = {
    "columns": [([], "range2"), (["--inputs2", "data.h5:/more"], "samples of the columns")],
    "trace": [([], "reduction"), (["--reduce", "trace", "--trace-scale", "sum"], "trace-scale")],
}


def with_changes(words, changes):
    """Options of `changes` in place of those of the same name."""
    kept = [w for pair in zip(words[1::2], words[2::2]) if pair[0] not in changes for w in pair]
    return [words[0], *kept, *changes]


def only_error(ended):
    """The error, which must be one line at the end; warnings may come before."""
    errors = [line for line in ended.err  # Open MPI prints what it hides from the program
              if not line.startswith(("scantk: warning: ", "mca_"))]
    expect(len(errors) == 1 and errors[0] == ended.err[-1] and
           errors[0].startswith("scantk: error: "), f"not one error: {ended}")
    return errors[0]


def check_refused(folder, output, words, changes, name):
    path = at(folder, output if os.path.exists(at(folder, output)) else output + ".part")
    with open(path, "rb") as file:
        before = file.read()
    for ranks in (1, 3) if MAX_RANKS >= 3 else (1,):
        ended = run(folder, *with_changes(words, changes), "--output", output, "--resume", "--quiet",
                    ranks=ranks)
        error = only_error(ended)
        expect(ended.code == 2 and name in error and (output in error or name.startswith("--")),
               f"'{name}' is not named: {ended}")
        with open(path, "rb") as file:
            expect(file.read() == before, f"{path} was changed: {ended}")


def make_part(folder, kind, output):
    """An unfinished file without stopping anything: as a kill leaves it."""
    shutil.copy(reference(folder, kind), at(folder, output + ".part"))
    with h5py.File(at(folder, output + ".part"), "r+") as file:
        done, kernel = file["tiles/done"], file["kernel"]
        marks = done[()]
        for number, tile in enumerate(map(tuple, np.argwhere(marks))):
            if number % 3 == 1:
                marks[tile] = 0
                kernel[tuple(slice(i * c, (i + 1) * c) for i, c in zip(tile, kernel.chunks))] = -1
        done[...] = marks
        file.attrs["complete"] = np.uint8(0)
        for side in ("outputs1", "outputs2"):
            file[side][...] = 7
    return marks


def check_refusals(folder):
    make_part(folder, "full", "refused.h5")
    must(folder, *BASE, *SLOW, "--block", "6x4", "--output", "six.h5", "--write-plan", "six.plan",
         "--quiet")
    for changes, name in REFUSED:
        check_refused(folder, "refused.h5", BASE, changes, name)
    check_refused(folder, "full.h5", BASE, ["--freeze", "*.bias"], "parameters")  # a complete one
    for kind, cases_of in REFUSED_OF.items():
        reference(folder, kind)
        for changes, name in cases_of:
            check_refused(folder, kind + ".h5", BASE, changes, name)


def check_other_files(folder):
    """What is no kernel file, or is damaged, is named and left alone."""
    with open(reference(folder, "full"), "rb") as file:
        content = file.read()
    for name, bad in [("text.h5", b"no kernel\n" * 1000), ("empty.h5", b""),
                      ("cut.h5.part", content[:len(content) // 2])]:
        with open(at(folder, name), "wb") as file:
            file.write(bad)
        output = name.removesuffix(".part")
        ended = run(folder, *BASE, "--output", output, "--resume", "--quiet")
        expect(ended.code == 1 and name in only_error(ended), str(ended))
        with open(at(folder, name), "rb") as file:
            expect(file.read() == bad, f"{name} was changed")


# ---- what is found -------------------------------------------------------------------------------


def check_damage(folder, kind):
    """Tiles that are not what their checksums say are computed anew, in a file that is complete
    too; outputs and labels are written anew."""
    words = [*BASE, *KINDS[kind]]
    for ranks in (1, min(4, MAX_RANKS)):
        output = f"damaged-{kind}-{ranks}.h5"
        for path in (output + ".part", output):
            if path == output:
                shutil.copy(reference(folder, kind), at(folder, output))
            else:
                make_part(folder, kind, output)
            with h5py.File(at(folder, path), "r+") as file:
                done, kernel = file["tiles/done"], file["kernel"]
                for tile in map(tuple, np.argwhere(done[()])[[0, -1]]):
                    corner = tuple(i * c for i, c in zip(tile, kernel.chunks))
                    kernel[corner] = kernel[corner] + 1
            ended = must(folder, *words, "--output", output, "--resume", ranks=ranks)
            expect(any(line.startswith("scantk: warning: ") and " 2 tiles " in line
                       for line in ended.err), f"no word of 2 wrong tiles: {ended}")
            check_same(folder, kind, output)
            os.remove(at(folder, output))


def check_complete(folder):
    """A complete file is checked and left as it is."""
    path = reference(folder, "full")
    with open(path, "rb") as file:
        before = file.read()
    for words in ([], ["--plan", "full.plan"], ["--plan", "full.h5"], ["--algorithm", "ntvp"]):
        ended = must(folder, *BASE, *KINDS["full"], *words, "--output", "full.h5", "--resume",
                     ranks=min(2, MAX_RANKS))
        expect(any("nothing is left to do" in line for line in ended.err), str(ended))
    with open(path, "rb") as file:
        expect(file.read() == before, "the complete file was changed")


def check_killed_at_the_end(folder):
    """Every tile done, but not yet renamed."""
    shutil.copy(reference(folder, "trace"), at(folder, "last.h5.part"))
    must(folder, *BASE, *KINDS["trace"], "--output", "last.h5", "--resume", "--quiet", ranks=2)
    check_same(folder, "trace", "last.h5")


def check_afresh(folder):
    """Nothing there: the first start is the same line; what was left before is replaced."""
    with open(at(folder, "fresh.h5.new"), "w", encoding="utf-8") as file:
        file.write("left")
    must(folder, *BASE, *KINDS["full"], "--plan", "full.plan", "--output", "fresh.h5", "--resume",
         "--quiet", ranks=min(2, MAX_RANKS))
    check_same(folder, "full", "fresh.h5")
    expect(not os.path.exists(at(folder, "fresh.h5.new")), "fresh.h5.new is left")


def check_other_machine(folder):
    """Another number of threads is warned of, and does not stop it."""
    make_part(folder, "full", "threads.h5")
    words = [SCANTK, *BASE, *KINDS["full"], "--output", "threads.h5", "--resume"]
    done = subprocess.run(words, cwd=folder, env=dict(environment(folder), OMP_NUM_THREADS="2"),
                          capture_output=True, text=True, timeout=100, check=False)
    expect(done.returncode == 0 and "scantk: warning: threads.h5: threads of a rank: 1 "
           "in the file, 2 now" in done.stderr, str(done))


# ---- other ways to end ---------------------------------------------------------------------------


def seconds_of(started):
    """Of processors, taken by all processes of the run."""
    ticks = 0
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == started.process.pid:  # its session
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def check_second_signal(folder, ranks):
    """The second signal drops the tiles in hand, here one that would take very long."""
    output = f"second-{ranks}.h5"
    words = ["kernel", "--model", "deep.onnx", "--inputs", "data.h5:/long", *SLOW, "--block",
             "400", "--output", output, "--quiet"]
    started = Started(folder, *words, ranks=ranks)
    deadline = time.monotonic() + 60
    while not os.path.exists(at(folder, output + ".part")):
        expect(time.monotonic() < deadline and started.process.poll() is None, "does not start")
        time.sleep(0.01)
    before = seconds_of(started)
    while seconds_of(started) < before + 2:  # nothing but the tile takes so long
        expect(time.monotonic() < deadline and started.process.poll() is None, "does not compute")
        time.sleep(0.01)
    started.send(signal.SIGUSR1)
    time.sleep(2)
    expect(started.process.poll() is None, f"did not wait for its tile: {started.words}")
    started.send(signal.SIGUSR1)
    began = time.monotonic()
    ended = started.end(60)
    expect(ended.code == 75 and "stopped (USR1) at 0 of " in ended.err[-1], str(ended))
    expect(time.monotonic() - began < 20, "the second signal is not obeyed soon")


def check_term(folder, ranks):
    """mpirun leaves a second after TERM: what is marked is right and can be gone on with."""
    output = f"term-{ranks}.h5"
    words = [*BASE, *SLOW, *KINDS["full"], "--plan", "full.plan", "--output", output, "--quiet",
             "--resume"]
    started = Started(folder, *words, ranks=ranks)
    wait_for(started, at(folder, output + ".part"))
    started.send(signal.SIGTERM)
    expect(started.end(60).code != 0, "exit is 0")
    check_checksums(at(folder, output + ".part"))
    must(folder, *words, ranks=ranks)
    check_same(folder, "full", output)


def check_bad_options(folder):
    for words, name in [(["--max-time", "90"], "--max-time"), (["--max-time", "soon"], "soon"),
                        (["--max-time", "00:00:00"], "00:00:00"), (["--stop-code", "0"], "0"),
                        (["--stop-code", "256"], "256")]:
        ended = run(folder, *BASE, "--output", "never.h5", *words, ranks=min(2, MAX_RANKS))
        expect(ended.code == 2 and len(ended.err) == 1 and name in ended.err[0], str(ended))


def mounted(folder, name, size):
    """A small file system of its own; None where it may not be made."""
    path = at(folder, name)
    os.makedirs(path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return path
    print(f"skipped: no file system for {name}: {done.stderr.strip()}")
    return None


def check_full_disk(folder, ranks):
    """No space left in the midst of a run: one line with rank, host and tile; with space again it
    goes on."""
    name = f"disk-{ranks}"
    disk = mounted(folder, name, "64m")
    if not disk:
        return
    try:
        output = name + "/K.h5"
        words = [*BASE, *SLOW, *KINDS["full"], "--plan", "full.plan", "--output", output, "--quiet"]
        started = Started(folder, *words, ranks=ranks)
        wait_for(started, at(folder, output + ".part"))
        with open(at(disk, "filler"), "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        ended = started.end(60)
        who = r"\[rank \d+, [^\]]+\] " if ranks > 1 else ""
        expect(ended.code == 1 and re.fullmatch(
            rf"scantk: error: {who}{output}: write failed: .*[Nn]o space left on device.* "
            r"\(tile \d+,\d+,\d+,\d+\)", only_error(ended)), f"not named: {ended}")
        refused = run(folder, *words, "--resume", ranks=ranks)
        expect(refused.code == 1 and "GiB free" in only_error(refused), str(refused))
        check_checksums(at(folder, output + ".part"))
        os.remove(at(disk, "filler"))
        must(folder, *words, "--resume", ranks=3 - ranks)
        check_same(folder, "full", output)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def check_read_only(folder):
    """An output folder that may not be written; for root every folder may, but for a file system
    that is read-only."""
    disk = mounted(folder, "fixed", "64m")
    if not disk:
        return
    try:
        make_part(folder, "full", "fixed/K.h5")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for output in ("fixed/K.h5", "fixed/L.h5"):
            ended = run(folder, *BASE, *KINDS["full"], "--output", output, "--resume", "--quiet",
                        ranks=min(2, MAX_RANKS))
            expect(ended.code == 1 and output in only_error(ended) and
                   "ead-only file system" in ended.err[-1], str(ended))
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


# ---- all -----------------------------------------------------------------------------------------


def make_inputs(folder):
    random = np.random.default_rng(5)
    for name, seed in (("net", "0"), ("other", "1")):
        must(folder, "model", "fcn", "--input", "48", "--width", "256", "--depth", "2",
             "--outputs", "10", "--seed", seed, "--output", name + ".onnx")
    must(folder, "model", "fcn", "--input", "48", "--width", "1024", "--depth", "3", "--outputs",
         "10", "--output", "deep.onnx")
    must(folder, "model", "cnn", "--input", "1x6x8", "--width", "4", "--depth", "1", "--outputs",
         "10", "--output", "cnn.onnx")
    write_data(at(folder, "data.h5"), inputs=random.normal(size=(2 * N, 48)),
               others=random.normal(size=(N, 48)), more=random.normal(size=(N, 48)),
               images=random.normal(size=(N, 1, 6, 8)), cotangents=random.normal(size=(10, 10)),
               long=random.normal(size=(800, 48)), labels=random.integers(0, 10, 2 * N))
    for kind in KINDS:
        reference(folder, kind)


LAYOUTS = [[(1, []), (3, ["--grid", "3x1"]), (2, ["--grid", "1x2"])],
           [(2, ["--grid", "2x1"]), (1, []), (4, [])],
           [(3, ["--grid", "1x3"]), (4, ["--grid", "2x2"]), (1, [])]]


def cases(folder):
    make_inputs(folder)
    numbers = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]
    for i, kind in enumerate(KINDS):
        layouts = [(r, g) if r <= MAX_RANKS else (1, []) for r, g in LAYOUTS[i % 3]]
        yield (f"stop {kind}", lambda k=kind, a=layouts, n=numbers[i % 3]:
               check_kind(folder, k, a, n))
    for kind in ("full", "trace", "columns"):
        yield f"damage {kind}", lambda k=kind: check_damage(folder, k)
    for check in (check_command, check_refusals, check_other_files, check_complete,
                  check_killed_at_the_end, check_afresh, check_other_machine, check_bad_options,
                  check_read_only):
        yield check.__name__, lambda c=check: c(folder)
    for ranks in (1, 2) if MAX_RANKS >= 2 else (1,):
        for check in (check_second_signal, check_term, check_full_disk):
            yield f"{check.__name__} {ranks}", lambda c=check, r=ranks: c(folder, r)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
