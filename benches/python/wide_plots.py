"""Draws the curves that `make bench-wide` measured.

wide_plots.py JSON FOLDER
"""

from __future__ import annotations

import json
import sys
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

from svg import BLUE, GREEN, GREY, ORANGE, PALE, RED, Drawing

Curves = dict[str, list[tuple[float, float]]]

_WIDTH, _HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 190, 60, 400
_COLOURS = [BLUE, GREEN, ORANGE, RED, GREY]


class Plot(NamedTuple):
    """What stands beside the curves."""

    title: str
    across: str
    up: str


PLOTS = {
    "sizes": Plot("Time of one operation by the size of the value", "bytes", "ns"),
    "threads": Plot("Throughput by the number of threads, 64 B", "threads", "million a second"),
    "growth": Plot("The longest put so far by the number of keys", "keys", "ms"),
}


def _name(figure: float) -> str:
    for size, sign in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if figure >= size:
            return f"{figure / size:g}{sign}"
    return f"{figure:g}"


class _Scale:
    """Both axes are logarithmic: sizes, threads and keys are multiplied, not added."""

    def __init__(self, figures: list[float], start: float, end: float) -> None:
        self._low = floor(log10(min(figures)))
        self._high = max(ceil(log10(max(figures))), self._low + 1)
        self._start, self._end = start, end

    def __call__(self, figure: float) -> float:
        part = (log10(figure) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)

    def ticks(self) -> list[float]:
        """The powers of ten."""
        return [10.0**power for power in range(self._low, self._high + 1)]


def draw(plot: Plot, curves: Curves) -> Drawing:
    """Lines, each with its name at its end."""
    points = [point for curve in curves.values() for point in curve]
    across = _Scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([y for _, y in points], _BOTTOM, _TOP)
    picture = Drawing(_WIDTH, _HEIGHT, plot.title)
    picture.text(20, 28, plot.title, size=15, bold=True)
    for tick in across.ticks():
        picture.line([(across(tick), _TOP), (across(tick), _BOTTOM)], PALE, width=1)
        label = _name(tick)
        picture.text(across(tick), _BOTTOM + 18, label, size=12, colour=GREY, anchor="middle")
    for tick in up.ticks():
        picture.line([(_LEFT, up(tick)), (_WIDTH - _RIGHT, up(tick))], PALE, width=1)
        picture.text(_LEFT - 8, up(tick) + 4, _name(tick), size=12, colour=GREY, anchor="end")
    picture.text(_LEFT, _TOP - 10, plot.up, size=12, colour=GREY, anchor="end")
    picture.text(_WIDTH - _RIGHT, _BOTTOM + 38, plot.across, size=12, colour=GREY, anchor="end")
    # One colour for each who was measured, dashes for the second thing that was measured of it.
    whom = list(dict.fromkeys(name.partition(",")[0] for name in curves))
    what = list(dict.fromkeys(name.partition(",")[2] for name in curves))
    for place, (name, curve) in enumerate(curves.items()):
        who, _, did = name.partition(",")
        colour, dashed = _COLOURS[whom.index(who) % len(_COLOURS)], what.index(did) > 0
        places = [(across(x), up(y)) for x, y in curve]
        picture.line(places, colour, width=2, dashed=dashed)
        y = _TOP + 22 * place
        picture.line([(_WIDTH - 170, y), (_WIDTH - 140, y)], colour, width=2, dashed=dashed)
        picture.text(_WIDTH - 132, y + 4, name, size=12)
    return picture


def main(measured: Path, folder: Path) -> None:
    """Draws what there is."""
    curves: dict[str, Curves] = json.loads(measured.read_text(encoding="utf-8"))["curves"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, of_plot in curves.items():
        file = folder / f"{name}.svg"
        file.write_text(draw(PLOTS[name], of_plot).whole(), encoding="utf-8")
        print(f"drawn: {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
