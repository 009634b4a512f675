"""Aligned tables of text, and the same rows as CSV and JSON.

A row is a dictionary; None is shown as "-".
"""

import csv
import json
import os
from typing import NamedTuple


class Column(NamedTuple):
    """A column: its key in the rows, its title (of several lines), how a value becomes text."""

    key: str
    title: str
    show: object = str
    left: bool = False


def whole(value):
    """185034.2 as 185,034."""
    return f"{value:,.0f}"


def digits(value):
    """Three significant digits, no exponent: 5.21, 52.1, 521, 5,213."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def mebibytes(value):
    """Bytes as 1.4 (MiB)."""
    return f"{value / 2**20:.1f}"


def percent(value):
    """12.3 as 12 %."""
    return f"{value:.0f} %"


def render(columns, rows):
    """The table as text: heads, a rule, one line for each row."""
    heads = [column.title.split("\n") for column in columns]
    height = max(map(len, heads))
    lines = [[([""] * (height - len(head)) + head)[i] for head in heads] for i in range(height)]
    body = [[_text(column, row) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines + body) for i in range(len(columns))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(columns, cells, widths) for cells in [*lines, rule, *body]) + "\n"


def _text(column, row):
    value = row.get(column.key)
    return "-" if value is None else column.show(value)


def _line(columns, cells, widths):
    padded = [cell.ljust(width) if column.left else cell.rjust(width)
              for column, cell, width in zip(columns, cells, widths)]
    return "  ".join(padded).rstrip()


def flat(nested, prefix=""):
    """A nested dictionary as a row: {"latency_us": {"p99": 3}} as {"latency_us_p99": 3}."""
    row = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            row.update(flat(value, f"{prefix}{key}_"))
        else:
            row[prefix + key] = value
    return row


def write_csv(path, rows):
    """Writes rows with a header; columns in the order of first appearance, None as nothing."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with _replaced(path) as file:
        writer = csv.DictWriter(file, keys, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path, value):
    """Writes a value as indented JSON."""
    with _replaced(path) as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")


class _replaced:
    """A file that replaces path when it is whole, so that nobody reads half of it."""

    def __init__(self, path):
        self._path = str(path)
        self._new = self._path + ".new"

    def __enter__(self):
        self._file = open(self._new, "w", encoding="utf-8", newline="")
        return self._file

    def __exit__(self, kind, *_):
        self._file.close()
        if kind is None:
            os.replace(self._new, self._path)
        else:
            os.unlink(self._new)
