"""A few shapes of SVG, for the drawings and plots of the pages."""

from __future__ import annotations

from html import escape
from pathlib import Path

INK, GREY, PALE, PAPER = "#24292f", "#6e7781", "#d0d7de", "#ffffff"
BLUE, GREEN, ORANGE, RED = "#0969da", "#1a7f37", "#bc4c00", "#cf222e"
SOFT_BLUE, SOFT_GREEN, SOFT_ORANGE, SOFT_RED = "#ddf4ff", "#dafbe1", "#fff1e5", "#ffebe9"

SANS = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'DejaVu Sans Mono', monospace"


class Drawing:
    """A picture on white paper, so that it reads on dark pages too."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'role="img" font-family="{SANS}" font-size="13" fill="{INK}">',
            f"<title>{escape(title)}</title>",
        ]
        self._markers: set[str] = set()
        self.box(0, 0, width, height, PAPER, PAPER, round_by=8)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = PAPER,
        edge: str = PALE,
        *,
        round_by: int = 6,
        dashed: bool = False,
    ) -> None:
        """A rectangle."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'rx="{round_by}" fill="{fill}" stroke="{edge}"{dashes}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """A line of text; y is its base line."""
        style = f' font-size="{size:g}"' if size != 13 else ""
        style += f' fill="{colour}"' if colour != INK else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        style += ' font-weight="600"' if bold else ""
        style += f' font-family="{MONO}"' if mono else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{style}>{escape(words)}</text>')

    def line(
        self,
        points: list[tuple[float, float]],
        colour: str = GREY,
        *,
        width: float = 1.5,
        arrow: bool = False,
        dashed: bool = False,
    ) -> None:
        """Straight lines from point to point."""
        style = ' stroke-dasharray="5 4"' if dashed else ""
        if arrow:
            style += f' marker-end="url(#{self._marker(colour)})"'
        places = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:g}" stroke-linejoin="round"{style}/>'
        )

    def stop(self, x: float, y: float, number: int, colour: str) -> None:
        """A numbered station of a line."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="{colour}"/>')
        self.text(x, y + 4, str(number), size=11, colour=PAPER, anchor="middle", bold=True)

    def _marker(self, colour: str) -> str:
        name = "arrow-" + colour.lstrip("#")
        if name not in self._markers:
            self._markers.add(name)
            self._parts.append(
                f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/>'
                "</marker>"
            )
        return name

    def whole(self) -> str:
        """The file's text."""
        return "\n".join([*self._parts, "</svg>", ""])


def write(pictures: dict[str, Drawing]) -> None:
    """Writes the pictures beside this file."""
    for name, picture in pictures.items():
        Path(__file__).with_name(f"{name}.svg").write_text(picture.whole(), encoding="utf-8")
