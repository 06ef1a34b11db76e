#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
"""Composite operators of opsets 12 to 28 against definitions in NumPy, in f64: the outputs of five
samples, which lie on a line, and the kernel of the first by a parameter that moves along the line
against differences of the definition. Exits 77 without onnx."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "program"))
try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from program import expect, must, read, run, run_cases, write_data
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

STEP = 1e-3
PLACES = STEP * np.array([0, 1, -1, 2, -2])
RANDOM = np.random.default_rng(7)
LEAST = float(np.finfo(np.float32).min)  # of masks that are not to be infinite


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def apart(x, heads):
    """[B, L, heads * D] to [B, heads, L, D]."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def attend(q, k, v, q_num_heads=None, kv_num_heads=None, mask=None, past=None, causal=False, scale=None,
           softcap=0, lengths=None, left=9):
    """Head by head, query by query; those that see nothing have zeros."""
    whole = q.ndim == 3
    q, k, v = apart(q, q_num_heads), apart(k, kv_num_heads), apart(v, kv_num_heads)
    front = 0
    if past is not None:
        front = past[0].shape[2]
        k, v = np.concatenate([past[0], k], 2), np.concatenate([past[1], v], 2)
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            shared = h * k.shape[1] // q.shape[1]
            for i in range(q.shape[2]):
                seen = k.shape[2] if lengths is None else lengths[b]
                first = seen - q.shape[2] if lengths is not None and past is None else front
                seen = min(seen, i + first + 1) if causal else seen
                score = k[b, shared, :seen] @ q[b, h, i] * (scale or q.shape[3]**-0.5)
                score = softcap * np.tanh(score / softcap) if softcap else score
                if mask is not None:
                    row = np.broadcast_to(mask, (*q.shape[:3], mask.shape[-1]))[b, h, i][:seen]
                    part = np.full(seen, -np.inf)
                    part[:len(row)] = np.where(row, 0, -np.inf) if row.dtype == bool else row
                    score = score + part
                score[:max(0, i + first - left)] = -np.inf
                if np.any(score > -np.inf):
                    y[b, h, i] = softmax(score) @ v[b, shared, :seen]
    return y.transpose(0, 2, 1, 3).reshape(*y.shape[::2], -1) if whole else y


def turn(x, cos, sin, places=None, heads=None, interleaved=False, size=None):
    """Pairs as complex numbers, times those of the angles."""
    y = apart(x, heads).copy()
    if places is not None:
        cos, sin = cos[places], sin[places]
    size = size or y.shape[3]
    real, imaginary = ((slice(0, size, 2), slice(1, size, 2)) if interleaved else
                       (slice(size // 2), slice(size // 2, size)))
    turned = (y[..., real] + 1j * y[..., imaginary]) * (cos + 1j * sin)[:, None]
    y[..., real], y[..., imaginary] = turned.real, turned.imag
    return y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)


def recur(q, k, v, heads, kv_heads, past=None, decay=None, beta=None, scale=None):
    q, k, v = apart(q, heads), apart(k, kv_heads), apart(v, kv_heads)
    state = np.zeros((*k.shape[:2], k.shape[3], v.shape[3])) if past is None else past.copy()
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for t in range(q.shape[2]):
        value = v[:, :, t]
        if decay is not None:
            state = state * np.exp(apart(decay, kv_heads)[:, :, t, :, None])
        if beta is not None:
            value = (value - np.einsum("bhkv,bhk->bhv", state, k[:, :, t])) * beta[:, t, :, None]
        state = state + k[:, :, t, :, None] * value[:, :, None]
        y[:, :, t] = np.einsum("bhkv,bhk->bhv", state.repeat(heads // kv_heads, 1), q[:, :, t])
    y = y * (scale or q.shape[3]**-0.5)
    return y.transpose(0, 2, 1, 3).reshape(*y.shape[::2], -1)


def causal(x, w, b=None, past=None, swish=False):
    front = np.zeros((*x.shape[:2], w.shape[2] - 1)) if past is None else past
    x = np.concatenate([front, x], 2)
    y = sum(w[:, 0, j, None] * x[:, :, j:j + x.shape[2] - w.shape[2] + 1] for j in range(w.shape[2]))
    y = y if b is None else y + b[:, None]
    return y / (1 + np.exp(-y)) if swish else y


def likelihood(x, labels, weight=None, ignored=None, reduction="mean", logarithm=False):
    if logarithm:
        x = x - np.log(np.exp(x).sum(1, keepdims=True))
    total = each = 0
    losses = np.zeros(labels.shape)
    for i in np.ndindex(labels.shape):
        if labels[i] != ignored:
            w = 1 if weight is None else weight[labels[i]]
            losses[i] = -w * x[(i[0], labels[i], *i[1:])]
            each, total = each + losses[i], total + w
    return {"none": losses, "sum": each, "mean": each / total}[reduction]


def affine(theta, size, align):
    """Places of the pixels, as (x, y, [z,] 1), through the maps."""
    middles = [np.linspace(-1, 1, n) if align else (2 * np.arange(n) + 1) / n - 1 for n in size]
    places = np.stack([*np.meshgrid(*middles, indexing="ij")[::-1], np.ones(size)], -1)
    return np.einsum("nij,...j->n...i", theta, places)


def fourier(x, axis, length=None, inverse=False, half=False):
    x = x[..., 0] + 1j * (x[..., 1] if x.shape[-1] == 2 else 0)
    y = (np.fft.ifft if inverse else np.fft.fft)(x, length, axis)
    if half:
        y = np.take(y, range(y.shape[axis] // 2 + 1), axis)
    return np.stack([y.real, y.imag], -1)


def short_time(x, step, window):
    frames = np.stack([x[:, i:i + len(window), 0] * window
                       for i in range(0, x.shape[1] - len(window) + 1, step)], 1)
    return fourier(frames[..., None], -1, half=True)


def real(*shape):
    return RANDOM.normal(size=shape)


class Case:
    """operator, opset; real operands, that move unless they are fixed; attributes; definition of
    the operands at a place. Operands of integers are constants."""

    def __init__(self, name, op, opset, operands, definition, fixed=(), output=0, **attributes):
        self.name, self.definition, self.opset = name, definition, opset
        self.operands, self.ways = operands, []
        for i, x in enumerate(operands):
            moves = isinstance(x, np.ndarray) and x.dtype == float and i not in fixed
            self.ways.append(real(*x.shape) if moves else None)
        names = ["" if x is None else f"x{i}" for i, x in enumerate(operands)]
        self.node = helper.make_node(op, names, [f"y{k}" for k in range(output + 1)], **attributes)

    def write(self, path):
        """x + way * (shift + place) for each operand that moves."""
        nodes, initializers = [helper.make_node("Add", ["place", "shift"], ["moved"])], []
        for i, (x, way) in enumerate(zip(self.operands, self.ways)):
            if x is None:
                continue
            name = f"x{i}" if way is None else f"start{i}"
            initializers.append(numpy_helper.from_array(np.asarray(x), name))
            if way is not None:
                initializers.append(numpy_helper.from_array(way, f"way{i}"))
                nodes += [helper.make_node("Mul", [f"way{i}", "moved"], [f"step{i}"]),
                          helper.make_node("Add", [name, f"step{i}"], [f"x{i}"])]
        initializers.append(numpy_helper.from_array(np.zeros(()), "shift"))
        output = helper.make_tensor_value_info(self.node.output[-1], TensorProto.DOUBLE, None)
        graph = helper.make_graph(
            nodes + [self.node], "case",
            [helper.make_tensor_value_info("place", TensorProto.DOUBLE, [])], [output], initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        helper.set_model_props(model, {"scantk.parameters": json.dumps(["shift"])})
        onnx.save(model, path)

    def at(self, place):
        return np.asarray(self.definition(*[
            x if way is None else x + place * way for x, way in zip(self.operands, self.ways)
        ])).ravel()

    def check(self, folder):
        model, output = self.name + ".onnx", self.name + ".h5"
        self.write(os.path.join(folder, model))
        must(folder, "kernel", "--model", model, "--inputs", "places.h5:/place", "--batch-axis", "none",
             "--dtype", "f64", "--algorithm", "jacobian", "--output", output, "--quiet")
        path = os.path.join(folder, output)
        due = np.stack([self.at(place) for place in PLACES])
        found, kernel = read(path, "outputs1"), read(path, "kernel")[0, :, 0]
        expect(found.shape == due.shape, f"{found.shape}, not {due.shape}")
        error = np.max(np.abs(found - due)) / np.max(np.abs(due))
        expect(error < 1e-12, f"outputs differ by {error:.1e}")
        slope = (8 * (due[1] - due[2]) - (due[3] - due[4])) / (12 * STEP)
        error = np.max(np.abs(kernel - np.outer(slope, slope))) / np.max(np.abs(slope))**2
        expect(error < 1e-7, f"kernels differ by {error:.1e}")


def attentions():
    q, k, v = real(2, 4, 3, 6), real(2, 4, 5, 6), real(2, 4, 5, 7)
    few, fewer = real(2, 2, 5, 6), real(2, 2, 5, 7)
    past = [real(2, 2, 2, 6), real(2, 2, 2, 7)]
    mask, bits = real(3, 5), RANDOM.random((2, 1, 3, 4)) < 0.7
    bits[..., 0] = True
    yield Case("attention", "Attention", 23, [q, k, v], attend)
    yield Case("attention_mask", "Attention", 23, [q, k, v, mask],
               lambda q, k, v, m: attend(q, k, v, mask=m, softcap=2, scale=0.5), softcap=2.0, scale=0.5)
    yield Case("attention_bits", "Attention", 24, [q, few, fewer, bits],
               lambda q, k, v, m: attend(q, k, v, mask=m))
    yield Case("attention_causal", "Attention", 24, [real(2, 3, 12), real(2, 3, 6), real(2, 3, 8)],
               lambda q, k, v: attend(q, k, v, 4, 2, causal=True), q_num_heads=4, kv_num_heads=2,
               is_causal=1)
    yield Case("attention_past", "Attention", 23, [q, few, fewer, None, *past],
               lambda q, k, v, m, *p: attend(q, k, v, past=p, causal=True), is_causal=1)
    yield Case("attention_present", "Attention", 23, [q, few, fewer, None, *past],
               lambda q, k, v, m, *p: np.concatenate([p[1], v], 2), output=2)
    blind = mask.copy()
    blind[1] = -np.inf
    yield Case("attention_blind", "Attention", 24, [q, k, v, blind],
               lambda q, k, v, m: attend(q, k, v, mask=m), fixed=(3,))
    yield Case("attention_column", "Attention", 23, [q, k, v, real(3, 1)],
               lambda q, k, v, m: attend(q, k, v, mask=np.repeat(m, 5, 1)))
    few_seen = mask.copy()
    few_seen[0], few_seen[1, 1:], few_seen[2, :2] = LEAST, -np.inf, LEAST
    yield Case("attention_least", "Attention", 24, [q, k, v, few_seen],
               lambda q, k, v, m: attend(q, k, v, mask=m, causal=True), fixed=(3,), is_causal=1)
    few_seen = few_seen[[1, 0, 2]]
    few_seen[2] = -np.inf
    yield Case("attention_moving", "Attention", 24, [q, k, v, few_seen],
               lambda q, k, v, m: attend(q, k, v, mask=m), fixed=(0, 1))
    tall = [real(1, 1, 300, 2), real(1, 1, 300, 2), real(1, 1, 300, 1), np.zeros((300, 300))]
    tall[3][RANDOM.random((300, 300)) < 0.5] = -np.inf
    tall[3][7], tall[3][9] = -np.inf, LEAST  # too many to be constants of the graph
    yield Case("attention_tall", "Attention", 24, tall,
               lambda q, k, v, m: attend(q, k, v, mask=m, left=300), fixed=(0, 1, 3))
    yield Case("attention_window", "Attention", 25, [q, k, v],
               lambda q, k, v: attend(q, k, v, left=1, causal=True), left_window_size=1,
               right_window_size=0)
    yield Case("attention_lengths", "Attention", 24, [q, k, v, None, None, None, np.array([4, 3])],
               lambda q, k, v, m, a, b, n: attend(q, k, v, lengths=n, causal=True), is_causal=1)


def rotations():
    x, flat = real(2, 3, 4, 8), real(2, 4, 24)
    angle = RANDOM.random((6, 4))
    places = RANDOM.integers(0, 6, (2, 4))
    cos, sin = np.cos(angle), np.sin(angle)
    yield Case("rotary", "RotaryEmbedding", 23, [x, cos, sin, places], turn, fixed=(1, 2))
    yield Case("rotary_flat", "RotaryEmbedding", 23, [flat, cos, sin, places],
               lambda *o: turn(*o, heads=3, interleaved=True), num_heads=3, interleaved=1)
    part = [np.cos(angle[places][..., :3]), np.sin(angle[places][..., :3])]
    yield Case("rotary_part", "RotaryEmbedding", 23, [x, *part],
               lambda *o: turn(*o, size=6), rotary_embedding_dim=6)


def recurrences():
    q, k, v, gate = real(2, 4, 12), real(2, 4, 6), real(2, 4, 8), real(2, 4, 6)
    past, slow, beta = real(2, 2, 3, 4), real(2, 4, 2), real(2, 4, 2)
    heads = dict(q_num_heads=4, kv_num_heads=2)
    yield Case("recurrence", "LinearAttention", 27, [q, k, v],
               lambda *o: recur(*o, 4, 2), update_rule="linear", **heads)
    yield Case("recurrence_gated", "LinearAttention", 27, [q, k, v, past, slow],
               lambda q, k, v, p, d: recur(q, k, v, 4, 2, p, d), update_rule="gated", **heads)
    yield Case("recurrence_delta", "LinearAttention", 27, [q, k, v, None, gate, beta],
               lambda q, k, v, p, d, b: recur(q, k, v, 4, 2, p, d, b, 0.25), scale=0.25, **heads)
    x, w, b = real(2, 3, 6), real(3, 1, 4), real(3)
    yield Case("causal", "CausalConvWithState", 27, [x, w], causal)
    yield Case("causal_past", "CausalConvWithState", 27, [x, w, b, real(2, 3, 3)],
               lambda *o: causal(*o, swish=True), activation="silu")
    yield Case("causal_state", "CausalConvWithState", 27, [x, w], lambda x, w: x[:, :, -3:], output=1)


def activations():
    x, y = real(3, 4), real(3, 4)
    yield Case("swish", "Swish", 24, [x], lambda x: x / (1 + np.exp(-0.75 * x)), alpha=0.75)
    yield Case("swiglu", "SwiGLU", 28, [x, y], lambda x, y: x * y / (1 + np.exp(-x)))
    yield Case("cumprod", "CumProd", 26, [x, np.array(-1)], lambda x, a: np.cumprod(x, 1))
    yield Case("cumprod_back", "CumProd", 26, [x, np.array(0)],
               lambda x, a: np.concatenate([np.cumprod(x[:0:-1], 0)[::-1], np.ones((1, 4))]),
               reverse=1, exclusive=1)


def losses():
    x, labels, weight = real(3, 5), RANDOM.integers(0, 5, 3), np.abs(real(5))
    images, pixels = real(2, 4, 3, 2), RANDOM.integers(0, 4, (2, 3, 2))
    pixels[0, 1, 0] = pixels[1, 2, 1] = -7
    yield Case("likelihood", "NegativeLogLikelihoodLoss", 13, [x, labels], likelihood)
    yield Case("likelihood_weight", "NegativeLogLikelihoodLoss", 13, [x, labels, weight],
               lambda *o: likelihood(*o, reduction="none"), fixed=(2,), reduction="none")
    yield Case("cross_entropy", "SoftmaxCrossEntropyLoss", 13, [images, pixels, weight[:4]],
               lambda *o: likelihood(*o, ignored=-7, logarithm=True), fixed=(2,), ignore_index=-7)
    yield Case("cross_entropy_sum", "SoftmaxCrossEntropyLoss", 13, [images, pixels],
               lambda *o: likelihood(*o, ignored=-7, logarithm=True, reduction="sum"),
               ignore_index=-7, reduction="sum")


def images():
    yield Case("affine", "AffineGrid", 20, [real(2, 2, 3), np.array([2, 1, 3, 4])],
               lambda t, s: affine(t, (3, 4), False))
    yield Case("affine_3d", "AffineGrid", 20, [real(1, 3, 4), np.array([1, 1, 2, 3, 4])],
               lambda t, s: affine(t, (2, 3, 4), True), align_corners=1)
    yield Case("center", "CenterCropPad", 18, [real(3, 8, 4), np.array([5, 7])],
               lambda x, s: np.pad(x[:, 1:6], ((0, 0), (0, 0), (1, 2))), axes=[1, -1])


def spectra():
    x, signal = real(2, 5, 3, 2), real(2, 20, 1)
    yield Case("dft", "DFT", 20, [x, None, np.array(1)], lambda x, n, a: fourier(x, 1))
    yield Case("dft_back", "DFT", 17, [x, np.array(7)], lambda x, n: fourier(x, 2, 7, True),
               axis=2, inverse=1)
    yield Case("dft_half", "DFT", 17, [x[..., :1], np.array(4)], lambda x, n: fourier(x, 1, 4, half=True),
               axis=1, onesided=1)
    yield Case("dft_real", "DFT", 20, [x, np.array(6), np.array(1)],
               lambda x, n, a: np.fft.irfft(x[..., 0] + 1j * x[..., 1], 6, 1)[..., None], inverse=1,
               onesided=1)
    yield Case("stft", "STFT", 17, [signal, np.array(3), np.hanning(8)],
               lambda x, s, w: short_time(x, 3, w), fixed=(2,))
    yield Case("stft_window", "STFT", 17, [signal, np.array(4), real(6)],
               lambda x, s, w: short_time(x, 4, w))


def check_label(folder):
    """A label of a sample that is none of the classes'."""
    nodes = [helper.make_node("NegativeLogLikelihoodLoss", ["scores", "label"], ["y"])]
    graph = helper.make_graph(
        nodes, "loss", [helper.make_tensor_value_info("label", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [])],
        [numpy_helper.from_array(real(1, 3), "scores")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, os.path.join(folder, "label.onnx"))
    for label in (-1, 3):
        name = f"label{label}.h5"
        write_data(os.path.join(folder, name), label=np.array([[2], [label]]))
        ended = run(folder, "forward", "--model", "label.onnx", "--inputs", name + ":/label",
                    "--batch-axis", "none", "--output", "never.h5")
        expect(ended.code == 3 and len(ended.err) == 1 and
               f"{label} is no index into 3 rows" in ended.err[0], str(ended))


def cases(folder):
    write_data(os.path.join(folder, "places.h5"), place=PLACES)
    for family in (attentions, rotations, recurrences, activations, losses, images, spectra):
        for case in family():
            yield case.name, lambda case=case: case.check(folder)
    yield "label", lambda: check_label(folder)


if __name__ == "__main__":
    sys.exit(run_cases(cases))
