"""Draws the plots of performance.md from the tables that stand there, and nowhere else."""

from __future__ import annotations

import re
from math import log10
from pathlib import Path

from svg import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, Drawing, write

PAGE = Path(__file__).parents[1] / "performance.md"

Row = tuple[str, list["float | None"]]
"""A name, and its figures."""

_WIDTH, _NAMES, _RIGHT, _BAR = 860, 280, 90, 15


def tables(page: str) -> list[tuple[list[str], list[Row]]]:
    """The tables of times: the heads of their columns, and their rows."""
    found = []
    for table in re.findall(r"^\| one operation, ns .*\n\|[-|]+\n(?:\|.*\n)+", page, re.M):
        head, _, *rows = [line.strip("| ").split("|") for line in table.splitlines()]
        names = [" ".join(cell.split()) for cell in head[1:]]
        found.append((names, [(_plain(row[0]), _figures(row[1:], len(names))) for row in rows]))
    return found


def _plain(cell: str) -> str:
    return cell.replace("`", "").strip()


def _figures(cells: list[str], count: int) -> list[float | None]:
    """The first number of each cell; None where there is none."""
    padded = cells + [""] * (count - len(cells))
    numbers = [re.match(r"\s*([\d,.]+)", cell) for cell in padded]
    return [float(number[1].replace(",", "")) if number else None for number in numbers]


def bars(
    title: str,
    series: list[str],
    rows: list[Row],
    *,
    least: float,
    most: float,
    ticks: list[float],
    unit: str,
    logarithmic: bool,
) -> Drawing:
    """Horizontal bars, one for each figure."""
    colours = [BLUE, GREEN, ORANGE, RED]
    group = [sum(figure is not None for figure in figures) * _BAR + 12 for _, figures in rows]
    height = 78 + sum(group) + 34
    picture = Drawing(_WIDTH, height, title)
    picture.text(20, 28, title, size=15, bold=True)
    for place, (name, colour) in enumerate(zip(series, colours)):
        x = _NAMES + 150 * place
        picture.box(x, 42, 12, 12, colour, colour, round_by=2)
        picture.text(x + 18, 53, name, size=12)

    def across(figure: float) -> float:
        part = log10(figure / least) / log10(most / least) if logarithmic else figure / most
        return _NAMES + part * (_WIDTH - _NAMES - _RIGHT)

    bottom = height - 34
    for tick in ticks:
        emphasis = GREY if tick == 1 and unit == "×" else PALE
        picture.line([(across(tick), 66), (across(tick), bottom)], emphasis, width=1)
        label = f"{tick:,.0f}{unit}"
        picture.text(across(tick), bottom + 18, label, size=12, colour=GREY, anchor="middle")
    y = 74.0
    for (name, figures), size in zip(rows, group):
        picture.text(_NAMES - 10, y + (size - 12) / 2 + 4, name, size=12, anchor="end")
        for figure, colour in zip(figures, colours):
            if figure is None:
                continue
            picture.box(
                _NAMES, y, across(figure) - _NAMES, _BAR - 3, colour, colour, round_by=2
            )
            label = f"{figure:,.{2 if figure < 10 else 0}f}{unit}"
            picture.text(across(figure) + 5, y + 10, label, size=11, colour=INK)
            y += _BAR
        y += 12
    return picture


def pictures(page: str) -> dict[str, Drawing]:
    """The plots, by the names of their files."""
    (operations, c_rows), (both, python_rows) = tables(page)
    peers = c_rows[1:]
    maps = [(name, figures) for name, figures in peers if max(filter(None, figures)) < 3.5]
    far = [(name, figures[:2]) for name, figures in peers if name not in dict(maps)]
    return {
        "performance-maps": bars(
            "Time of one operation as a multiple of kvreg's: more than 1 is slower than kvreg",
            operations,
            maps,
            least=0,
            most=3.5,
            ticks=[0, 1, 2, 3],
            unit="×",
            logarithmic=False,
        ),
        "performance-peers": bars(
            "Time of one operation as a multiple of kvreg's, on a logarithmic scale",
            operations[:2],
            far,
            least=1,
            most=2000,
            ticks=[1, 10, 100, 1000],
            unit="×",
            logarithmic=True,
        ),
        "performance-python": bars(
            "Time of one operation from Python, in nanoseconds, on a logarithmic scale",
            both,
            python_rows,
            least=50,
            most=200_000,
            ticks=[100, 1000, 10_000, 100_000],
            unit=" ns",
            logarithmic=True,
        ),
    }


if __name__ == "__main__":
    write(pictures(PAGE.read_text(encoding="utf-8")))
