# SPDX-License-Identifier: Apache-2.0
"""The infinite-width NTK of a fully connected relu network in the ntk parametrisation.

A. Jacot, F. Gabriel, C. Hongler, "Neural Tangent Kernel: Convergence and Generalization in Neural
Networks", NeurIPS 2018, Theorem 1; Gaussian expectations of relu: Y. Cho, L. Saul, "Kernel Methods
for Deep Learning", NIPS 2009 (arc-cosine kernels of order 0 and 1). Of a layer
y = sqrt(v / fan_in) W x + s b with W, b ~ N(0, 1):

    Sigma_1 = v x.x' / d + s^2                          Theta_1 = Sigma_1
    Sigma_k+1 = v E[relu(u) relu(u')] + s^2             (u, u') ~ N(0, Sigma_k)
    Theta_k+1 = Sigma_k+1 + v E[relu'(u) relu'(u')] Theta_k

for each of the outputs; the kernel of two different outputs is 0."""
import numpy as np


def infinite_kernel(rows, columns, depth, variance=2.0, bias=0.1):
    """[rows, columns] of networks with `depth` hidden layers."""
    scale, shift = variance / rows.shape[1], bias**2
    row, column = (scale * np.sum(x * x, axis=1) + shift for x in (rows, columns))
    sigma = scale * (rows @ columns.T) + shift
    theta = sigma.copy()
    for _ in range(depth):
        norms = np.sqrt(np.outer(row, column))
        angle = np.arccos(np.clip(sigma / norms, -1, 1))
        sigma = variance * norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        sigma += shift
        theta *= variance * (np.pi - angle) / (2 * np.pi)
        theta += sigma
        row, column = (variance * x / 2 + shift for x in (row, column))
    return theta
