# SPDX-License-Identifier: Apache-2.0
"""Jacobian contraction as in torch's tutorial on neural tangent kernels, by functorch (torch 1.13)
or torch.func: fully connected networks, x2 = x1."""
import peer
import torch

try:
    from torch.func import functional_call, jacrev, vmap
except ImportError:
    from functorch import jacrev, vmap
    functional_call = None


def network(options):
    sizes = [int(options["input"])] + [options["width"]] * options["depth"]
    layers = []
    for fan_in, width in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(fan_in, width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], options["outputs"]))


def per_sample(net):
    """f(parameters, sample) and the parameters."""
    if functional_call:
        parameters = {name: p.detach() for name, p in net.named_parameters()}
        return lambda p, x: functional_call(net, p, (x.unsqueeze(0),)).squeeze(0), parameters
    from functorch import make_functional
    function, parameters = make_functional(net)
    return lambda p, x: function(p, x.unsqueeze(0)).squeeze(0), parameters


def main():
    asked = peer.request()
    torch.set_num_threads(asked["threads"])
    torch.set_default_dtype(torch.float64 if asked["dtype"] == "f64" else torch.float32)
    function, parameters = per_sample(network(asked["options"]))
    pattern = {"none": "Naf,Mbf->NMab", "trace": "Naf,Maf->NM"}[asked["reduce"]]

    def kernel(x):
        jacobians = vmap(jacrev(function), (None, 0))(parameters, x)
        jacobians = jacobians.values() if isinstance(jacobians, dict) else jacobians
        return sum(torch.einsum(pattern, j.flatten(2), j.flatten(2)) for j in jacobians)

    peer.time_batches(asked["most"], asked["seconds"],
                      lambda n: torch.randn(n, int(asked["options"]["input"])), kernel)


if __name__ == "__main__":
    with torch.no_grad():
        main()
