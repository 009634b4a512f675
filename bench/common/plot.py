"""Draws figures of one or several panels with gnuplot, as SVG and as PNG from one script.

    figure("out/tune", "echopool", [Lines("Throughput", "workers", "echoes/s", series)])

writes out/tune.gp (the script, with its data), out/tune.svg and out/tune.png. All panels show the
same series, so one legend in a field of its own serves all.
"""

import math
import subprocess
from pathlib import Path
from typing import NamedTuple

# People who do not see all colours can tell these apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
           "#7a3f9d", "#8b5a2b")
POINTS = (7, 5, 9, 13, 11, 15, 6, 4)
PANEL_WIDTH = 480
PANEL_HEIGHT = 330
DODGE = 0.04
TIMEOUT_S = 60


class PlotFailed(Exception):
    """gnuplot is missing or refused the script; the text says which."""


class Series(NamedTuple):
    """Its name in the legend, and its points.

    In Lines a point is (x, y, low, high): a median and its error bar. In Bars there is one number
    for each group, or None.
    """

    name: str
    points: list


class Lines(NamedTuple):
    """A panel with a line for each series; x is on a scale of doublings."""

    title: str
    x_label: str
    y_label: str
    series: list
    log_y: bool = False


class Bars(NamedTuple):
    """A panel with a group of bars for each name in groups, one bar for each series."""

    title: str
    y_label: str
    groups: list
    series: list
    log_y: bool = False


def figure(base, title, panels, columns=2):
    """Draws the panels row by row, then the legend; returns the paths of the SVG and the PNG.

    base: the path without its ending. PlotFailed when gnuplot cannot; an older figure is removed,
    as it would be taken for this one.
    """
    columns = min(columns, len(panels) + 1)
    rows = math.ceil((len(panels) + 1) / columns)
    size = columns * PANEL_WIDTH, rows * PANEL_HEIGHT
    paths = [Path(f"{base}.svg"), Path(f"{base}.png")]
    terminals = (
        f'svg size {size[0]},{size[1]} font "Helvetica,Arial,sans-serif,13" background "white"',
        f'pngcairo size {2 * size[0]},{2 * size[1]} font "sans,13" fontscale 1.6 linewidth 2 '
        'pointscale 2')
    drawing = _drawing(title, panels, rows, columns)
    script = _data(panels) + "".join(
        f"set terminal {terminal}\nset output {_quoted(path.name)}\n{drawing}unset output\n"
        for terminal, path in zip(terminals, paths))
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        Path(f"{base}.gp").write_text(script, encoding="utf-8")
    except OSError as error:
        raise PlotFailed(str(error)) from None
    _run(Path(f"{base}.gp"))
    return paths


def _run(script):
    try:
        done = subprocess.run(["gnuplot", script.name], cwd=script.parent, capture_output=True,
                              text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise PlotFailed("gnuplot is not there; install Debian's gnuplot-nox for plots") from None
    except subprocess.TimeoutExpired:
        raise PlotFailed(f"gnuplot did not end in {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise PlotFailed(f"gnuplot failed: {' '.join(done.stderr.split())}")


def _quoted(text):
    """Text as gnuplot's string, in which nothing is special."""
    return "'" + str(text).replace("'", "''") + "'"


def _data(panels):
    """The data of all panels, as gnuplot's named blocks."""
    blocks = []
    for number, panel in enumerate(panels):
        if isinstance(panel, Bars):
            blocks.append(_block(f"$panel{number}", _bar_lines(panel)))
            continue
        for index, series in enumerate(panel.series):
            lines = [" ".join(map(str, point)) for point in series.points]
            blocks.append(_block(f"$panel{number}_{index}", lines))
    return "".join(blocks)


def _bar_lines(panel):
    columns = zip(*(series.points for series in panel.series))
    return [" ".join(["?" if value is None else str(value) for value in values])
            for values in columns]


def _block(name, lines):
    return "\n".join([f"{name} << END", *lines, "END"]) + "\n"


def _drawing(title, panels, rows, columns):
    """The commands that draw everything, the same for each terminal."""
    parts = ["set encoding utf8\nset datafile missing '?'\n",
             f"set multiplot layout {rows},{columns} title {_quoted(title)} noenhanced "
             "margins char 10,3,4,4 spacing char 12,7\n"]
    for number, panel in enumerate(panels):
        parts.append(_common(panel))
        parts.append(_bars(number, panel) if isinstance(panel, Bars) else _lines(number, panel))
    return "".join(parts) + _legend(panels[0]) + "unset multiplot\n"


def _common(panel):
    """The settings of every panel; nothing of the one before stays."""
    lines = ["reset", "unset key", "set border 3", "set tics nomirror out", "set xtics norotate",
             f"set title {_quoted(panel.title)} noenhanced",
             f"set ylabel {_quoted(panel.y_label)} noenhanced",
             "set grid ytics linetype 1 linecolor '#dddddd' linewidth 0.7"]
    lines += ["set logscale y"] if panel.log_y else ["set yrange [0:*]"]
    return "\n".join(lines) + "\n"


def _fill(index):
    return f"linecolor '{COLOURS[index % len(COLOURS)]}'"


def _style(index):
    # Where the colours begin again, the lines are dashed.
    return (f"{_fill(index)} dashtype {1 + index // len(COLOURS)} linewidth 1.6 "
            f"pointtype {POINTS[index % len(POINTS)]} pointsize 0.9")


def _lines(number, panel):
    xs = sorted({point[0] for series in panel.series for point in series.points})
    marks = ", ".join(f"'{x}' {x}" for x in xs)
    # Error bars at the same x stand a little beside each other.
    shifts = [2 ** (DODGE * (index - (len(panel.series) - 1) / 2))
              for index in range(len(panel.series))]
    plots = [f"$panel{number}_{index} using ($1*{shift:.4f}):2:3:4 with yerrorlines {_style(index)}"
             for index, shift in enumerate(shifts)]
    return (f"set xlabel {_quoted(panel.x_label)} noenhanced\nset logscale x 2\n"
            f"set xrange [{xs[0] / 1.25}:{xs[-1] * 1.25}]\nset xtics ({marks})\n"
            f"plot {', '.join(plots)}\n")


def _bars(number, panel):
    marks = ", ".join(f"{_quoted(name)} {i}" for i, name in enumerate(panel.groups))
    plots = [f"$panel{number} using {index + 1} {_fill(index)}"
             for index in range(len(panel.series))]
    return ("set style data histograms\nset style histogram clustered gap 1\n"
            "set style fill solid 0.85 noborder\nset xtics noenhanced\n"
            f"set xtics ({marks})\nset xrange [-0.6:{len(panel.groups) - 0.4}]\n"
            f"plot {', '.join(plots)}\n")


def _legend(panel):
    """A field with the names alone."""
    bars = isinstance(panel, Bars)
    looks = [f"boxes fill solid 0.85 {_fill(index)}" if bars else f"linespoints {_style(index)}"
             for index in range(len(panel.series))]
    plots = [f"NaN with {look} title {_quoted(series.name)} noenhanced"
             for look, series in zip(looks, panel.series)]
    return ("reset\nunset border\nunset tics\nset xrange [0:1]\nset yrange [0:1]\n"
            "set key center center vertical Left reverse samplen 3 spacing 1.6\n"
            f"plot {', '.join(plots)}\n")
