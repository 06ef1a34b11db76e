# SPDX-License-Identifier: Apache-2.0
"""The networks whose kernels tests/golden/references.h5 holds: one per structure that a factor
description, an import rule or a convention at kinks could get wrong."""
import math

import torch
import torch.nn.functional as F
from torch import nn


def f32(value):
    """A constant as the file holds it, so that file and f64 reference are the same function."""
    return torch.tensor(value, dtype=torch.float32).item()


EPSILON = f32(1e-5)


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / f32(math.sqrt(2.0))))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def fcn():
    return nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 12), nn.Tanh(),
                         nn.Linear(12, 3))


def cnn():
    return nn.Sequential(nn.Conv2d(2, 5, 3, stride=2, padding=1), nn.ReLU(),
                         nn.Conv2d(5, 6, (3, 2), stride=(1, 2), padding=(2, 0)), nn.ReLU(),
                         nn.Flatten(), nn.Linear(84, 4))


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 30, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 84),
                         nn.ReLU(), nn.Linear(84, 10))


def groups():
    return nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Tanh(),
                         nn.Conv2d(8, 16, 3, groups=8, padding=1), nn.Tanh(),
                         nn.Conv2d(16, 6, 2, dilation=2, bias=False), nn.Tanh(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def convolutions_1d_3d():
    return nn.Sequential(nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.Tanh(),
                         Lambda(lambda x: x.reshape(-1, 1, 2, 2, 4)),
                         nn.Conv3d(1, 3, (2, 1, 3), padding=(0, 1, 1)), nn.Tanh(),
                         nn.Flatten(), nn.Linear(48, 2))


class Block(nn.Module):
    """A basic block with BatchNorm; a 1x1 convolution where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, EPSILON)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                          nn.BatchNorm2d(outputs, EPSILON))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet_batchnorm():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False),
                         nn.BatchNorm2d(4, EPSILON), nn.ReLU(),
                         Block(4, 4, 1), Block(4, 6, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(6, 3))


class ResidualConvolutions(nn.Module):
    """No norm: the block's last convolution and its shortcut have the same cotangent."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 6, 3, 2, 1)
        self.conv2 = nn.Conv2d(6, 6, 3, 1, 1)
        self.shortcut = nn.Conv2d(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.conv2(F.relu(self.conv1(x))) * 0.5 + self.shortcut(x))
        return self.head(x.mean((2, 3)))


class UsedTwice(nn.Module):
    """One weight, used twice in the same role, with its bias."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class ConvolutionUsedTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.inner(torch.tanh(self.inner(x)))).mean((2, 3)))


class Transposed(nn.Module):
    """A weight and its transpose."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(6, 5))
        self.bias = nn.Parameter(torch.empty(6))

    def forward(self, x):
        hidden = torch.tanh(F.linear(x, self.weight, self.bias))
        return F.linear(torch.tanh(F.linear(hidden, self.weight.t())), self.weight)


def ties():
    """Integers and eighths: pre-activations that are exactly zero, equal maxima in windows."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.MaxPool2d(3, 1), nn.ReLU(),
                         nn.Conv2d(4, 5, 2, padding=1, bias=False), nn.MaxPool2d(2, 1), nn.Tanh(),
                         nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))


class LayerNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size))

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * self.weight + self.bias


class Attention(nn.Module):
    """Position table, two heads, gain after the block (LayerScale), head on the mean token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.position = nn.Parameter(torch.empty(4, 8))
        self.norm1, self.norm2 = LayerNorm(8), LayerNorm(8)
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.out = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.empty(8))
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    @staticmethod
    def heads(x):
        return x.reshape(-1, 4, 2, 4).transpose(1, 2)

    def forward(self, x):
        x = self.embed(x) + self.position
        y = self.norm1(x)
        q, k, v = self.heads(self.q(y)), self.heads(self.k(y)), self.heads(self.v(y))
        y = torch.softmax(q @ k.transpose(2, 3) / 2.0, -1) @ v
        x = x + self.scale * self.out(y.transpose(1, 2).reshape(-1, 4, 8))
        x = x + self.down(gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class CutWeights(nn.Module):
    """Weights cut before they are used: a fused one, its bias, a stack, rows in reverse."""

    def __init__(self):
        super().__init__()
        self.fused = nn.Parameter(torch.empty(18, 6))
        self.bias = nn.Parameter(torch.empty(18))
        self.stack = nn.Parameter(torch.empty(2, 6, 6))
        self.last = nn.Parameter(torch.empty(5, 6))

    def forward(self, x):
        q, k, v = (F.linear(x, w, b) for w, b in zip(self.fused.split((6, 6, 6)),
                                                        self.bias.chunk(3)))
        x = torch.softmax(q @ k.transpose(1, 2), -1) @ v
        x = torch.tanh(torch.tanh(x @ self.stack[0]) @ self.stack[1])
        return F.linear(x.mean(1), self.last[1:].flip(0))


class VitBlock(nn.Module):
    """As torch.nn.TransformerEncoderLayer(norm_first=True), q, k and v one after the other."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        samples, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(samples, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(samples, tokens, width))
        return x + self.down(gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    """Patches, class token, position embedding; head on the class token. A head has 4 channels,
    so that the factor of the attention is exact."""

    def __init__(self, blocks, width=16):
        super().__init__()
        self.patch = nn.Conv2d(2, width, 4, 4)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 5, width))
        self.blocks = blocks
        self.norm, self.head = nn.LayerNorm(width, EPSILON), nn.Linear(width, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit_fused():
    return Vit(nn.Sequential(VitBlock(16, 4), VitBlock(16, 4)))


def vit_encoder():
    return Vit(nn.Sequential(*(nn.TransformerEncoderLayer(
        16, 4, 64, 0.0, gelu, EPSILON, batch_first=True, norm_first=True) for _ in range(2))))


class NtkLinear(nn.Module):
    """y = sqrt(v / fan_in) W x + s b"""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        factor = f32(math.sqrt(2.0 / self.weight.shape[1]))
        return factor * F.linear(x, self.weight) + f32(0.1) * self.bias


def ntk():
    return nn.Sequential(NtkLinear(7, 16), nn.ReLU(), NtkLinear(16, 12), nn.ReLU(),
                         NtkLinear(12, 3))


class ScaledWeight(nn.Module):
    """The factor stands on the weight itself: (c W) x, one weight negated and reshaped."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.empty(8, 6))
        self.second = nn.Parameter(torch.empty(4, 2, 3))

    def forward(self, x):
        hidden = torch.tanh(F.linear(x, self.first * f32(0.3)))
        return hidden @ (-self.second).reshape(8, 3)


class WeightNorm(nn.Module):
    """W = g v / |v| and W * W: the cotangent runs through the parameters' own graph."""

    def __init__(self):
        super().__init__()
        self.v = nn.Parameter(torch.empty(9, 6))
        self.g = nn.Parameter(torch.empty(9, 1))
        self.square = nn.Parameter(torch.empty(3, 9))

    def forward(self, x):
        weight = self.g * self.v / torch.sqrt((self.v * self.v).sum(1, keepdim=True))
        return F.linear(torch.tanh(F.linear(x, weight)), self.square * self.square)


class Mixer(nn.Module):
    """weight x data over tokens, by MatMul and by transposing."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(5, 4))
        self.mix = nn.Linear(5, 3)
        self.channels = nn.Linear(6, 2)

    def forward(self, x):
        x = torch.tanh(self.tokens @ x)
        x = torch.tanh(self.mix(x.transpose(1, 2))).transpose(1, 2)
        return self.channels(x)


class Sequence(nn.Module):
    """An output per token: the identity top holds for the last axis only."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        return self.head(torch.sigmoid(self.inner(x)))


class Dense(nn.Module):
    """Concatenated channels, average pool with padding, a per-channel gain."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(5, 4, 3, padding=1)
        self.gain = nn.Parameter(torch.empty(4, 1, 1))
        self.head = nn.Linear(36, 3)

    def forward(self, x):
        x = torch.cat([x, torch.tanh(self.conv1(x))], 1)
        x = self.gain * torch.tanh(self.conv2(x))
        return self.head(F.avg_pool2d(x, 3, 2, padding=1).flatten(1))


def activations():
    """Each away from its kink with probability one."""
    return nn.Sequential(nn.Linear(5, 8), Lambda(gelu), nn.Linear(8, 8), nn.Softplus(),
                         nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 8), nn.LeakyReLU(0.125),
                         nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 4), nn.LogSoftmax(1))


# name: (function, shape of a sample)
NETWORKS = {
    "fcn": (fcn, (7,)),
    "cnn": (cnn, (2, 9, 7)),
    "lenet5": (lenet5, (1, 12, 12)),
    "groups": (groups, (4, 7, 8)),
    "convolutions_1d_3d": (convolutions_1d_3d, (3, 7)),
    "resnet_batchnorm": (resnet_batchnorm, (2, 7, 6)),
    "residual_convolutions": (ResidualConvolutions, (2, 7, 6)),
    "used_twice": (UsedTwice, (6,)),
    "convolution_used_twice": (ConvolutionUsedTwice, (3, 5, 4)),
    "transposed": (Transposed, (5,)),
    "ties": (ties, (1, 8, 8)),
    "attention": (Attention, (4, 5)),
    "cut_weights": (CutWeights, (4, 6)),
    "vit_fused": (vit_fused, (2, 8, 8)),
    "vit_encoder": (vit_encoder, (2, 8, 8)),
    "ntk": (ntk, (7,)),
    "scaled_weight": (ScaledWeight, (6,)),
    "weight_norm": (WeightNorm, (6,)),
    "mixer": (Mixer, (4, 6)),
    "sequence": (Sequence, (4, 5)),
    "dense": (Dense, (2, 6, 6)),
    "activations": (activations, (5,)),
}


def initialise(model, exact):
    """Random weights of size 1/sqrt(fan_in), biases and gains that are not 0 or 1, statistics
    that are not fresh. `exact`: eighths, so that sums have no rounding in either type."""
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if not tensor.is_floating_point():
                continue
            fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 4
            values = torch.randn(tensor.shape) * math.sqrt(1.5 / fan_in)
            if name.endswith("running_var") or name == "g":
                values = torch.rand(tensor.shape) + 0.5
            tensor.copy_(torch.round(values * 8) / 8 if exact else values)


def samples(count, shape, exact):
    """Values that f32 holds; `exact`: small integers, most of them zero."""
    if exact:
        return torch.randint(0, 3, (count, *shape)).float() * (torch.rand(count, *shape) < 0.15)
    return torch.randn(count, *shape)


def make(name):
    """(model in f64 and eval mode, inputs [4, ...], inputs2 [3, ...]); the weights are f32."""
    function, shape = NETWORKS[name]
    exact = name == "ties"
    model = function().eval()
    torch.manual_seed(sum(ord(c) * (i + 1) for i, c in enumerate(name)))
    initialise(model, exact)
    return model.double(), samples(4, shape, exact).double(), samples(3, shape, exact).double()
