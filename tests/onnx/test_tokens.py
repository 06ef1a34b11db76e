#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
"""Networks that read token ids, exported from torch, against torch's own derivatives in f64.

    SCANTK=build/bin/scantk tests/onnx/test_tokens.py

Tables looked up once, twice, added to others and tied to the head; ids of several types, counted
from the end, and out of range. Exits 77 without torch."""
import functools
import os
import sys
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../../scripts", "../golden", "../program"):
    sys.path.insert(0, os.path.join(HERE, folder))
try:
    import h5py
    import numpy as np
    import torch
    from torch import nn
    from export_torch import BY_TORCHSCRIPT, export_model, save
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
from program import expect, must, read, run, run_cases, write_data
from test_golden import ALGORITHMS, REDUCTIONS, TOLERANCE, error_of, reduced

TOKENS, WIDTH, ROWS, SAMPLES = 6, 8, 11, 5
LONG = 120  # rows of a table whose Jacobian costs more than its factors


class Bag(nn.Module):
    def __init__(self, rows=ROWS):
        super().__init__()
        self.table, self.head = nn.Embedding(rows, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids):
        return self.head(self.table(ids).mean(1))


class Causal(nn.Module):
    """A transformer block in which a token sees those before it."""

    def __init__(self):
        super().__init__()
        self.table, self.places = nn.Embedding(ROWS, WIDTH), nn.Embedding(TOKENS + 2, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out, self.up = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.down, self.head = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def attention(self, x):
        def heads(linear):
            return linear(x).view(-1, TOKENS, 2, WIDTH // 2).transpose(1, 2)
        mask = torch.full((TOKENS, TOKENS), -1e4).triu(1)
        scores = heads(self.q) @ heads(self.k).transpose(2, 3) / 2 + mask.to(x.dtype)
        y = scores.softmax(-1) @ heads(self.v)
        return self.out(y.transpose(1, 2).reshape(-1, TOKENS, WIDTH))

    def forward(self, ids):
        x = self.table(ids) + self.places(torch.arange(ids.shape[1]))
        x = x + self.attention(self.first(x))
        x = x + self.down(torch.tanh(self.up(self.second(x))))
        return self.head(x)


class Twice(nn.Module):
    """One table for two questions of unlike length, and another added to one of them."""

    def __init__(self):
        super().__init__()
        self.table, self.kinds = nn.Embedding(ROWS, WIDTH), nn.Embedding(ROWS + 2, WIDTH)
        self.linear, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids):
        a = self.table(ids[:, :2]) + self.kinds(ids[:, 2:4] + 1)
        b = self.table(ids[:, 3:])
        return self.head(torch.tanh(self.linear(a)).sum(1) * torch.tanh(b).mean(1))


class Mixed(nn.Module):
    """A table beside a weight and a bias that share its cotangent; numbers as features."""

    def __init__(self):
        super().__init__()
        self.table, self.linear = nn.Embedding(ROWS, WIDTH), nn.Linear(1, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids):
        dtype = self.head.weight.dtype
        x = 3 * self.table(ids) - self.linear(ids.to(dtype).unsqueeze(2) / 8)
        return self.head(torch.tanh(x).mean(1))


class Masked(nn.Module):
    """Some tokens are no words: what they become depends on the sample."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(ROWS, WIDTH, padding_idx=2)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.filler, self.head = nn.Parameter(torch.randn(WIDTH)), nn.Linear(WIDTH, 3)

    def forward(self, ids):
        x = torch.tanh(self.linear(self.table(ids)))
        x = torch.where((ids == 3).unsqueeze(2), self.filler, x)
        return self.head(x.masked_fill((ids == 5).unsqueeze(2), 0.5).mean(1))


class Tied(nn.Module):
    """The table is the head, too."""

    def __init__(self, rows=ROWS):
        super().__init__()
        self.table, self.linear = nn.Embedding(rows, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, ids):
        return torch.tanh(self.linear(self.table(ids))).mean(1) @ self.table.weight.t()


class TiedTwice(Tied):
    """Looked up in two places, and a head whose cotangent depends on the sample."""

    def __init__(self):
        super().__init__(LONG)
        self.bias = nn.Parameter(torch.randn(LONG))

    def forward(self, ids):
        x = torch.tanh(self.linear(self.table(ids[:, :4]))).mean(1)
        y = x * self.table(ids[:, 3:]).sum(1)
        return torch.tanh(nn.functional.linear(y, self.table.weight, self.bias))


class Flipped(nn.Module):
    """A table whose rows are looked up along its second axis."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(WIDTH, ROWS)), nn.Linear(WIDTH, 2)

    def forward(self, ids):
        columns = torch.index_select(self.table, 1, ids.flatten()).view(WIDTH, -1, TOKENS)
        return self.head(torch.tanh(columns).mean(2).t())


class Transposed(Flipped):
    def forward(self, ids):
        return self.head(torch.tanh(nn.functional.embedding(ids, self.table.t())).mean(1))


MODELS = {"bag": Bag, "causal": Causal, "twice": Twice, "mixed": Mixed, "masked": Masked,
          "tied": Tied, "tied_long": lambda: Tied(LONG), "tied_twice": TiedTwice,
          "transposed": Transposed}


def jacobian(model, ids):
    """[N, O, P] in f64."""
    model = model.double()
    rows = []
    for one in ids:
        y = model(one[None]).flatten()
        rows.append([torch.cat([g.flatten() for g in torch.autograd.grad(
            o, list(model.parameters()), retain_graph=True)]) for o in y])
    return np.array([[o.numpy() for o in row] for row in rows])


def make(folder, name, model, rows=ROWS):
    """Writes model and samples; the kernels of the samples and between them and others."""
    torch.manual_seed(0)
    ids = torch.randint(rows, (SAMPLES + 3, TOKENS))
    ids[:, -1] = ids[:, 0]  # some tokens come again
    save(export_model(model, [ids[:2]]), os.path.join(folder, name + ".onnx"))
    write_data(os.path.join(folder, name + ".h5"), inputs=ids[:SAMPLES].numpy(),
               inputs2=ids[SAMPLES:].numpy(), negative=(ids[:SAMPLES] - rows).numpy(),
               small=ids[:SAMPLES].numpy().astype("i4"), real=ids[:SAMPLES].numpy() * 1.0)
    np.save(os.path.join(folder, name + ".npy"), ids[:SAMPLES].numpy())
    j = jacobian(model, ids)
    return (np.einsum("nop,mqp->nomq", j[:SAMPLES], j[:SAMPLES]),
            np.einsum("nop,mqp->nomq", j[:SAMPLES], j[SAMPLES:]))


def words(name, inputs, output, **options):
    more = [word for key, value in options.items() for word in ("--" + key, value)]
    return ["kernel", "--model", name + ".onnx", "--inputs", inputs, "--output", output,
            "--dtype", "f64", "--quiet", *more]


def check(folder, name, expected, inputs, tag, reduction="none", **options):
    output = f"{name}-{tag}.h5"
    options = {"reduce": reduction, **options}
    must(folder, *words(name, inputs, output, **options))
    error = error_of(read(os.path.join(folder, output), "kernel"), reduced(expected, reduction))
    expect(error <= TOLERANCE[options.get("dtype", "f64")], f"error {error:.1e}")


def check_structure(folder, name, reduction):
    """No Jacobian of the table is formed."""
    ended = must(folder, *words(name, name + ".h5", f"{name}-explained-{reduction}.h5",
                                reduce=reduction, algorithm="structured"), "--explain")
    rows = [line.split() for line in ended.out.splitlines() if " s " in line]
    tie = [row for row in rows if row[-1] == "table.weight[0]*[1]"]
    expect(len(tie) == 1 and tie[0][3:5] == [str(LONG), str(WIDTH)], ended.out)
    expect(all(row[3] != "1" for row in rows if "table" in row[-1]), ended.out)


def check_layouts(folder, name, expected):
    """The same bytes on two ranks; the same kernel where they share the parameters."""
    output, plan = f"{name}-layout.h5", name + ".plan"
    must(folder, *words(name, name + ".h5", output, block="2x50", algorithm="structured"),
         "--write-plan", plan)
    one = read(os.path.join(folder, output), "kernel")
    for grid in ("2x1", "1x1x2"):
        must(folder, *words(name, name + ".h5", grid + output, plan=plan, grid=grid), ranks=2)
        two = read(os.path.join(folder, grid + output), "kernel")
        expect(grid != "2x1" or two.tobytes() == one.tobytes(), "bytes differ")
        expect(error_of(two, expected) <= TOLERANCE["f64"], f"{grid}: differs")


def check_refusal(folder, inputs, code, text):
    ended = run(folder, *words("bag", inputs, f"refused-{inputs.rpartition('/')[2]}.h5"))
    expect(ended.code == code and text in "\n".join(ended.err), str(ended))


def make_untied(folder):
    """A plain export stores the head of a tied table as a tensor of its own."""
    torch.onnx.export(Tied(), (torch.zeros(2, TOKENS, dtype=torch.long),),
                      os.path.join(folder, "untied.onnx"), opset_version=14,
                      input_names=["ids"], dynamic_axes={"ids": {0: "batch"}}, **BY_TORCHSCRIPT)


def check_untied(folder):
    ended = run(folder, *words("untied", "bag.h5", "refused.h5"))
    expect(ended.code == 2 and "made two of one parameter" in "\n".join(ended.err), str(ended))


def check_large(folder, kernel):
    """A vocabulary that no one-hot vector fits."""
    check(folder, "large", kernel, "large.h5", "structured", algorithm="structured")
    peak = must(folder, *words("large", "large.h5", "large-auto.h5"))
    expect(peak.code == 0, str(peak))


def cases(folder):
    """torch exports here, in one thread: its exporter keeps its state in globals."""
    warnings.simplefilter("ignore")
    for name, model in MODELS.items():
        torch.manual_seed(1)
        rows = LONG if name in ("tied_long", "tied_twice") else ROWS
        own, other = make(folder, name, model(), rows)
        for algorithm in ALGORITHMS if rows == ROWS else ("structured",):
            for reduction in REDUCTIONS:
                yield f"{name} {algorithm} {reduction}", functools.partial(
                    check, folder, name, own, name + ".h5", f"{algorithm}-{reduction}",
                    reduction, algorithm=algorithm)
            yield f"{name} {algorithm} x1 != x2", functools.partial(
                check, folder, name, other, name + ".h5", f"{algorithm}-2",
                algorithm=algorithm, inputs2=f"{name}.h5:/inputs2", block="2x1")
        if rows == LONG:
            for reduction in ("none", "trace"):
                yield f"{name} {reduction} explained", functools.partial(check_structure, folder,
                                                                         name, reduction)
            yield f"{name} on two ranks", functools.partial(check_layouts, folder, name, own)
        if name == "bag":
            for inputs in ("bag.h5:/negative", "bag.h5:/small", "bag.npy"):
                yield inputs, functools.partial(check, folder, name, own, inputs,
                                                inputs[-3:], algorithm="structured")
    make_untied(folder)
    yield "a head without its tie", functools.partial(check_untied, folder)
    large, _ = make(folder, "large", Bag(50000), 50000)
    yield "50,000 rows", functools.partial(check_large, folder, large)
    ids = np.zeros((3, TOKENS), "i8")
    ids[1, 2] = ROWS
    with h5py.File(os.path.join(folder, "bad.h5"), "w") as file:
        file["outside"], file["below"] = ids, -ids - 1
    yield "an id outside", functools.partial(check_refusal, folder, "bad.h5:/outside", 3,
                                             "sample 1: node")
    yield "an id below", functools.partial(check_refusal, folder, "bad.h5:/below", 3,
                                           f"{-ROWS - 1} is no index into {ROWS} rows")
    yield "ids with fractions", functools.partial(check_refusal, folder, "bag.h5:/real", 2,
                                                  "is of type i64, the data f64")


if __name__ == "__main__":
    sys.exit(run_cases(cases))
