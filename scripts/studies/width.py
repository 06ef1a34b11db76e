# SPDX-License-Identifier: Apache-2.0
"""How far kernels of finite width are from that of infinite width."""
import numpy as np


def distances(kernels, due):
    """|K - due| / |due| (Frobenius) over networks: root mean square, standard error."""
    squares = np.sum((kernels - due) ** 2, axis=(1, 2)) / np.sum(due**2)
    value = np.sqrt(squares.mean())
    if len(squares) < 2:
        return value, np.nan
    return value, squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * value)


def without_lengths(kernels, due):
    """The kernels less what every entry has of the fluctuation of its two diagonal entries. The mean
    stays: that of the diagonal of relu networks has its limit's value at any width (B. Hanin, M.
    Nica, "Finite Depth and Width Corrections to the Neural Tangent Kernel", ICLR 2020)."""
    ratios = np.diagonal(kernels, axis1=1, axis2=2) / np.diagonal(due) - 1
    return kernels - due * (ratios[:, :, None] + ratios[:, None, :]) / 2


def bias(kernels, due):
    """|E K - due| / |due|, standard error. The square is estimated without bias, by the products of
    different networks; the error by leaving each out. (nan, nan) where it is lost in the noise."""
    count = len(kernels)
    if count < 4:
        return np.nan, np.nan
    apart = (without_lengths(kernels, due) - due).reshape(count, -1) / np.linalg.norm(due)
    products = apart @ apart.T
    with_others = products.sum(axis=1) - np.diagonal(products)
    whole = with_others.sum()
    square = whole / (count * (count - 1))
    without = (whole - 2 * with_others) / ((count - 1) * (count - 2))
    error = np.sqrt((count - 1) * without.var())
    if square < 2 * error:
        return np.nan, np.nan
    return np.sqrt(square), error / (2 * np.sqrt(square))
