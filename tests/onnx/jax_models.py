# SPDX-License-Identifier: Apache-2.0
"""Small networks in plain JAX, and in flax where it is there: name -> function() giving
(f, parameters, inputs of four samples). One of each kind of thing that networks are made of."""
import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def weight(*shape):
    return normal(*shape) / np.float32(np.sqrt(np.prod(shape[:-1])))


def layer(inputs, outputs):
    return {"w": weight(inputs, outputs), "b": 0.1 * normal(outputs)}


def dense(p, x):
    return x @ p["w"] + p["b"]


def mlp():
    def f(layers, x):
        for p in layers[:-1]:
            x = jax.nn.relu(dense(p, x))
        return dense(layers[-1], x)
    return f, [layer(6, 8), layer(8, 7), layer(7, 3)], normal(4, 6)


def activations():
    """One dense layer behind the other, each with another function."""
    functions = [jax.nn.gelu, jax.nn.silu, jax.nn.softplus, jax.nn.elu, jax.nn.selu, jnp.sin,
                 jax.nn.leaky_relu, jax.nn.relu6, jnp.arctan, jax.nn.hard_swish, jax.nn.log_softmax,
                 lambda x: jax.nn.gelu(x, approximate=False), lambda x: jnp.sqrt(1 + x**2),
                 lambda x: jnp.clip(x, -1, 1), lambda x: x**3 / (1 + jnp.exp(-x) + x**2),
                 lambda x: jnp.where(x > 0, x, jnp.expm1(x))]

    def f(layers, x):
        for p, function in zip(layers, functions):
            x = x + function(dense(p, x))
        return x[:, :3]
    return f, [layer(5, 5) for _ in functions], normal(4, 5)


def convolve(x, w, stride=1, padding="SAME", **more):
    return lax.conv_general_dilated(x, w, (stride, stride), padding,
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"), **more)


def window(x, start, operation, size=2):
    return lax.reduce_window(x, start, operation, (1, size, size, 1), (1, 2, 2, 1), "VALID")


def cnn():
    """NHWC: strides, groups, dilation, both poolings, a transposed convolution."""
    p = {"first": weight(3, 3, 2, 4), "depthwise": weight(3, 3, 1, 4), "bias": normal(4),
         "wide": weight(2, 2, 4, 3), "up": weight(3, 3, 3, 2), "head": layer(2 * 10 * 10, 2)}

    def f(p, x):
        x = jnp.tanh(convolve(x, p["first"]) + p["bias"])
        x = convolve(x, p["depthwise"], feature_group_count=4) + x
        x = window(x, -jnp.inf, lax.max) + window(x, 0.0, lax.add, 2) / 4
        x = jax.nn.relu(convolve(x, p["wide"], padding="VALID", rhs_dilation=(2, 2)))
        x = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
        x = jnp.tanh(lax.conv_transpose(x, p["up"], (2, 2), "SAME"))
        return dense(p["head"], x.reshape(x.shape[0], -1))
    return f, p, normal(4, 12, 12, 2)


def norm(p, x):
    mean = x.mean(-1, keepdims=True)
    spread = lax.rsqrt(((x - mean)**2).mean(-1, keepdims=True) + 1e-5)
    return (x - mean) * spread * p["gain"] + p["bias"]


def transformer():
    """A class token, positions, attention by einsum, a multilayer perceptron, of tokens' ids."""
    D, H, T = 8, 2, 5
    p = {"table": normal(11, D), "class": normal(D), "place": normal(T + 1, D),
         "norm": {"gain": 1 + 0.1 * normal(D), "bias": 0.1 * normal(D)},
         "qkv": weight(D, 3, H, D // H), "out": weight(H, D // H, D), "up": layer(D, 12),
         "down": layer(12, D), "head": layer(D, 3)}

    def f(p, ids):
        x = p["table"][ids]
        token = jnp.broadcast_to(p["class"], (x.shape[0], 1, D))
        x = jnp.concatenate([token, x], 1) + p["place"]
        q, k, v = jnp.moveaxis(jnp.einsum("btd,dshc->btshc", norm(p["norm"], x), p["qkv"]), 2, 0)
        scores = jnp.einsum("bqhc,bkhc->bhqk", q, k) / np.sqrt(D // H)
        mask = jnp.tril(jnp.ones((T + 1, T + 1), bool))
        scores = jax.nn.softmax(jnp.where(mask, scores, -1e9))
        x = x + jnp.einsum("bhqk,bkhc,hcd->bqd", scores, v, p["out"])
        x = x + dense(p["down"], jax.nn.gelu(dense(p["up"], norm(p["norm"], x))))
        return dense(p["head"], x.mean(1))
    return f, p, RANDOM.integers(0, 11, (4, T))


def recurrent():
    """lax.scan over time."""
    p = {"in": weight(3, 5), "back": weight(5, 5), "bias": normal(5), "head": layer(5, 2)}

    def f(p, x):
        def step(h, now):
            h = jnp.tanh(now @ p["in"] + h @ p["back"] + p["bias"])
            return h, h
        last, steps = lax.scan(step, jnp.zeros((x.shape[0], 5), x.dtype), jnp.swapaxes(x, 0, 1))
        return dense(p["head"], last + steps.mean(0))
    return f, p, normal(4, 6, 3)


def stopped():
    """stop_gradient of data, and of a parameter that is used otherwise, too."""
    def f(p, x):
        h = jnp.tanh(dense(p[0], x))
        h = h * lax.stop_gradient(jnp.exp(h)) + lax.stop_gradient(p[1]["b"])
        return dense(p[1], h)
    return f, [layer(4, 5), layer(5, 5)], normal(4, 4)


def fixed():
    """It works for one size of the batch at a time: a Python number of it."""
    def f(p, x):
        return jnp.concatenate([dense(p, row)[None] for row in x]) / float(1 + 0 * x.shape[0])
    return f, layer(4, 3), normal(4, 4)


MODELS = {f.__name__: f for f in (mlp, activations, cnn, transformer, recurrent, stopped, fixed)}

try:
    from flax import linen
except ImportError:
    linen = None
if linen:
    class Block(linen.Module):
        """Convolutions with BatchNorm, attention over their pixels."""

        @linen.compact
        def __call__(self, x):
            x = linen.Conv(4, (3, 3), strides=2)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=True)(x))
            x = linen.avg_pool(linen.ConvTranspose(4, (2, 2), strides=(2, 2))(x), (2, 2), (2, 2))
            x = x.reshape(x.shape[0], -1, x.shape[-1])
            x = x + linen.MultiHeadDotProductAttention(2)(linen.LayerNorm()(x))
            return linen.Dense(2)(linen.GroupNorm(2)(x).mean(1))

    def flax_block():
        x = normal(4, 6, 6, 2)
        model = Block()
        variables = model.init(jax.random.PRNGKey(0), x)
        moved = jax.tree_util.tree_map(lambda a: a + 0.1 * np.abs(normal(*a.shape)), variables)
        return model.apply, moved, x
    MODELS["flax_block"] = flax_block
