# SPDX-License-Identifier: Apache-2.0
"""Models as they are right after construction: full of tensors with equal values, which
torch.onnx.export merges."""
import torch
from torch import nn


class Residual(nn.Module):
    """x + W norm(x): fresh gains, biases and projections of equal shapes."""

    def __init__(self, size):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.linear = nn.Linear(size, size)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x):
        return x + self.linear(self.norm(x))


class Scales(nn.Module):
    """Single elements and vectors, all ones."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.ones(()))
        self.second = nn.Parameter(torch.ones(()))
        self.third, self.fourth = nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(6))
        self.linear = nn.Linear(6, 1)

    def forward(self, x):
        x = torch.tanh(self.first * x + self.third)
        return self.linear(torch.tanh(self.second * x * self.fourth))


class Tied(nn.Module):
    """One tensor under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Buffers(nn.Module):
    """Buffers that are no parameters: a mask, a table of positions, a mean to subtract."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([1.0, 1.0, 0.0, 1.0]))
        self.register_buffer("position", torch.ones(4))
        self.linear = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.linear(x + self.position)) * self.mask)


def layer_norms():
    return nn.Sequential(Residual(6), Residual(6), Residual(6), nn.LayerNorm(6), nn.Linear(6, 6),
                         nn.LayerNorm(6), nn.Linear(6, 1)), (6,)


def batch_norms():
    def stage():
        return [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*stage(), *stage(), nn.Conv2d(4, 4, 3, bias=True), nn.BatchNorm2d(4),
                         nn.Flatten(), nn.Linear(64, 2)), (4, 6, 6)


def zero_biases():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    for layer in model[::2]:
        nn.init.zeros_(layer.bias)
    return model, (6,)


def one_output():
    return nn.Linear(6, 1), (6,)


def one_input():
    return nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1)), (1,)


def prelus():
    return nn.Sequential(nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 6), nn.PReLU(),
                         nn.Linear(6, 6), nn.PReLU(6), nn.Linear(6, 2)), (6,)


def same_values():
    model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
    model[2].load_state_dict(model[0].state_dict())
    model[4].load_state_dict(model[0].state_dict())
    return model, (5,)


def constant_weights():
    model = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 3, padding=1),
                          nn.Tanh(), nn.Flatten(), nn.Linear(32, 2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    return model, (2, 4, 4)


def group_norms():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
                         nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Flatten(),
                         nn.Linear(64, 2)), (2, 4, 4)


# name: function() -> (fresh model, shape of a sample)
MODELS = {
    "layer_norms": layer_norms,
    "batch_norms": batch_norms,
    "zero_biases": zero_biases,
    "one_output": one_output,
    "one_input": one_input,
    "prelus": prelus,
    "same_values": same_values,
    "constant_weights": constant_weights,
    "group_norms": group_norms,
    "scales": lambda: (Scales(), (6,)),
    "tied": lambda: (Tied(), (5,)),
    "buffers": lambda: (Buffers(), (4,)),
}
