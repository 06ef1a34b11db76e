# SPDX-License-Identifier: Apache-2.0
"""What is measured: networks, numbers of samples, kinds of kernel."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """A kernel with x2 = x1. `options` are those of `scantk model FAMILY`."""
    name: str
    family: str
    options: dict
    n: int          # samples
    quick_n: int
    reduce: str = "none"
    dtype: str = "f32"

    @property
    def sample_shape(self):
        return [int(size) for size in self.options["input"].split("x")]

    @property
    def outputs(self):
        return self.options["outputs"]

    @property
    def network(self):
        """A file name, the same for all cases of a network."""
        words = [self.family] + [f"{key}{value}" for key, value in self.options.items()]
        return "-".join(words)


FCN = {"input": "784", "width": 1024, "depth": 3, "outputs": 10}
WIDE = {"input": "3072", "width": 2048, "depth": 3, "outputs": 8}
CNN = {"input": "1x28x28", "width": 64, "depth": 3, "outputs": 10}
RESNET = {"input": "3x32x32", "outputs": 10}
VIT = {"input": "3x32x32", "width": 192, "depth": 6, "outputs": 10, "patch": 4}

CASES = [
    Case("fcn-1024", "fcn", FCN, 2048, 512),
    Case("fcn-1024-f64", "fcn", FCN, 2048, 512, dtype="f64"),
    Case("fcn-1024-trace", "fcn", FCN, 16384, 2048, reduce="trace"),
    Case("fcn-2048", "fcn", WIDE, 1024, 256),
    Case("cnn", "cnn", CNN, 512, 128),
    Case("resnet18", "resnet18", RESNET, 256, 32),
    Case("resnet18-trace", "resnet18", RESNET, 256, 32, reduce="trace"),
    Case("vit", "vit", VIT, 128, 32),
]
# Only when named: to see that the script works.
SMOKE = Case("smoke", "fcn", {"input": "16", "width": 32, "depth": 2, "outputs": 4}, 64, 48)
# Only with --large.
FASHION = [
    Case("fashion-pseudo", "fcn", FCN, 60000, 60000, reduce="pseudo"),
    Case("fashion-trace", "fcn", FCN, 60000, 60000, reduce="trace"),
]
