# SPDX-License-Identifier: Apache-2.0
"""Tables as plain text or as Markdown."""


def show(header, rows, markdown):
    """Columns are right-aligned but for the first."""
    cells = [header] + rows
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|---|" + "---:|" * (len(header) - 1))
        return "\n".join(lines)
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0])] +
                       [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
             for row in cells]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def three(number):
    """Three digits: 0.0123, 1.23, 12.3, 1.2e-05, 1,230."""
    if number is None:
        return "-"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def percent(ratio):
    return f"{100 * ratio:.0f} %"
