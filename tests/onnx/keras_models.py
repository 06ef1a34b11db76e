# SPDX-License-Identifier: Apache-2.0
"""Small Keras models: name -> function() giving (model, inputs of four samples)."""
import keras
import numpy as np
from keras import layers

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(keras.config.floatx())


def moved(model):
    """Every weight away from its start; variances stay positive."""
    for variable in model.variables:
        if "float" in str(variable.dtype):
            variable.assign(variable + 0.1 * np.abs(normal(*variable.shape)))
    return model


def mlp():
    return keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu"), layers.Dropout(0.5),
                             layers.Dense(7, "gelu"), layers.Dense(3)]), normal(4, 6)


def cnn():
    return keras.Sequential([
        keras.Input((10, 10, 2)), layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(),
        layers.ReLU(), layers.DepthwiseConv2D(3), layers.MaxPooling2D(2),
        layers.SeparableConv2D(3, 2, activation="silu"), layers.AveragePooling2D(2, 1),
        layers.Conv2DTranspose(2, 3, 2, padding="same"), layers.GlobalAveragePooling2D(),
        layers.Dense(2)]), normal(4, 10, 10, 2)


def lstm():
    return keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, return_sequences=True),
                             layers.GRU(4), layers.Dense(2)]), normal(4, 5, 3)


def transformer():
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, 8)(ids)
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 4)(y, y)
    x = x + layers.Dense(8)(layers.Dense(12, "gelu")(layers.LayerNormalization()(x)))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(ids, outputs), RANDOM.integers(0, 11, (4, 5)).astype("int32")


MODELS = {f.__name__: f for f in (mlp, cnn, lstm, transformer)}


def make(name):
    model, inputs = MODELS[name]()
    return moved(model), inputs
