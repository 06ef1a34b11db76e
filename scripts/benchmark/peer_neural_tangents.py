# SPDX-License-Identifier: Apache-2.0
"""neural-tangents' empirical_ntk_fn on the networks of `scantk model`, channels last, x2 = x1."""
import sys
import types

import numpy as np
import peer

# its `experimental` package imports TensorFlow, which nothing here needs
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402
import neural_tangents as nt  # noqa: E402


class Parameters:
    """Hands out parameters in the order in which the network asks for them: random ones the first
    time, then those it is given."""

    def __init__(self, values=None):
        self.making = values is None
        self.values = [] if self.making else values
        self.at = 0
        self.random = np.random.default_rng(0)

    def __call__(self, *shape, fan_in=None):
        if self.making:
            scale = np.sqrt(2 / fan_in) if fan_in else 0.02
            self.values.append(jnp.asarray(self.random.standard_normal(shape) * scale))
        self.at += 1
        return self.values[self.at - 1]


def relu(x):
    return jnp.maximum(x, 0)


def dense(p, x, width):
    return x @ p(x.shape[-1], width, fan_in=x.shape[-1]) + p(width)


def conv(p, x, channels, size, stride):
    pad, fan_in = (size // 2, size // 2), size * size * x.shape[-1]
    weight = p(size, size, x.shape[-1], channels, fan_in=fan_in)
    return lax.conv_general_dilated(x, weight, (stride, stride), (pad, pad),
                                    dimension_numbers=("NHWC", "HWIO", "NHWC")) + p(channels)


def pooled_head(p, x, options):
    return dense(p, jnp.mean(x, axis=(1, 2)), options["outputs"])


def fcn(p, x, options):
    for _ in range(options["depth"]):
        x = relu(dense(p, x, options["width"]))
    return dense(p, x, options["outputs"])


def cnn(p, x, options):
    for i in range(options["depth"]):
        x = relu(conv(p, x, options["width"], 3, 1 if i == 0 else 2))
    return pooled_head(p, x, options)


def resnet18(p, x, options):
    x = relu(conv(p, x, 64, 3, 1))
    for stage in range(4):
        for block in range(2):
            channels, stride = 64 << stage, 2 if stage > 0 and block == 0 else 1
            y = conv(p, relu(conv(p, x, channels, 3, stride)), channels, 3, 1)
            if stride != 1 or x.shape[-1] != channels:
                x = conv(p, x, channels, 1, stride)
            x = relu(y + x)
    return pooled_head(p, x, options)


def layer_norm(p, x):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5) * (1 + p(x.shape[-1])) + p(x.shape[-1])


def gelu(x):
    return 0.5 * x * (1 + lax.erf(x * np.sqrt(0.5)))


def attention(p, x, heads):
    n, tokens, width = x.shape
    q, k, v = (dense(p, x, width).reshape(n, tokens, heads, width // heads) for _ in range(3))
    scores = jnp.einsum("nthc,nshc->nhts", q, k) / np.sqrt(width // heads)
    weights = jnp.exp(scores - lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return dense(p, jnp.einsum("nhts,nshc->nthc", weights, v).reshape(n, tokens, width), width)


def vit(p, x, options):
    width, patch = options["width"], options["patch"]
    n, height, breadth, channels = x.shape
    x = x.reshape(n, height // patch, patch, breadth // patch, patch, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, patch * patch * channels)
    x = dense(p, x, width)
    x = jnp.concatenate([jnp.broadcast_to(p(1, 1, width), (n, 1, width)), x], axis=1)
    x = x + p(1, x.shape[1], width)
    for _ in range(options["depth"]):
        x = x + attention(p, layer_norm(p, x), max(1, width // 64))
        x = x + dense(p, gelu(dense(p, layer_norm(p, x), 4 * width)), width)
    return dense(p, layer_norm(p, x)[:, 0], options["outputs"])


NETWORKS = {"fcn": fcn, "cnn": cnn, "resnet18": resnet18, "vit": vit}


def main():
    asked = peer.request()
    options, build = asked["options"], NETWORKS[asked["family"]]
    if asked["dtype"] == "f64":
        jax.config.update("jax_enable_x64", True)
    sizes = [int(size) for size in options["input"].split("x")]
    sample = sizes[1:] + sizes[:1]  # channels last
    dtype = np.float64 if asked["dtype"] == "f64" else np.float32

    def make_input(n):
        return jnp.asarray(np.random.default_rng(n).standard_normal((n, *sample)), dtype)

    first = Parameters()
    build(first, make_input(1), options)
    parameters = [value.astype(dtype) for value in first.values]
    ntk = jax.jit(nt.empirical_ntk_fn(
        lambda values, x: build(Parameters(values), x, options), vmap_axes=0,
        trace_axes=(-1,) if asked["reduce"] == "trace" else (),
        implementation=asked["implementation"]))
    peer.time_batches(asked["most"], asked["seconds"], make_input,
                      lambda x: ntk(x, None, parameters).block_until_ready())


if __name__ == "__main__":
    main()
