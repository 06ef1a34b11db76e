# SPDX-License-Identifier: Apache-2.0
"""Tables of the studies: text with a line of names and columns apart by tabs, "#" begins a remark."""
import numpy as np

COLUMNS = {"width": ["width", "networks", "deviation", "deviation_error", "bias", "bias_error"],
           "conditioning": ["activation", "depth", "width", "parameters", "condition", "largest",
                            "smallest"]}
WIDE = 64  # narrower networks are not yet where width^-1/2 holds
WORDS = {"activation"}  # columns that are not numbers


def cell(value):
    return value if isinstance(value, str) else f"{value:.6g}"


def write(path, names, rows, remarks=()):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"# {remark}\n" for remark in remarks)
        file.write("\t".join(names) + "\n")
        file.writelines("\t".join(cell(value) for value in row) + "\n" for row in rows)


def read(path, kind):
    """{column: array}; ValueError where it is no table of that study."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\n") for line in file if line.strip() and line[0] != "#"]
    names = lines[0].split("\t") if lines else []
    if not set(COLUMNS[kind]) <= set(names):
        raise ValueError(f"is no table of scripts/study-{kind}")
    rows = [line.split("\t") for line in lines[1:]]
    if not rows or any(len(row) != len(names) for row in rows):
        raise ValueError("has no rows" if not rows else "has rows of different lengths")
    return {name: np.array(column if name in WORDS else [float(value) for value in column])
            for name, column in zip(names, zip(*rows))}


def show(names, rows):
    """The same for people."""
    cells = [names] + [[f"{value:.4g}" if isinstance(value, float) else str(value)
                        for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(row, widths))
                     for row in cells)


def fit_power(x, y, least=0):
    """exponent, factor: least squares of log y = log factor + exponent log x, over x >= least and
    positive y; (nan, nan) where these are fewer than two."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    used = (x >= least) & (y > 0)
    if used.sum() < 2:
        return np.nan, np.nan
    x, y = x[used], y[used]
    exponent, constant = np.polyfit(np.log(x), np.log(y), 1)
    return exponent, np.exp(constant)
