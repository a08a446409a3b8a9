"""Draws kvreg.svg, which the README shows, and architecture.svg."""

from __future__ import annotations

from typing import NamedTuple

from svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PAPER,
    RED,
    SOFT_BLUE,
    SOFT_GREEN,
    SOFT_ORANGE,
    SOFT_RED,
    Drawing,
    write,
)


def kvreg() -> Drawing:
    """One process: two languages, a registry, its buckets, and an inbox."""
    picture = Drawing(880, 440, "Two languages in one process share a registry of buckets")
    picture.box(10, 12, 860, 416, "#f6f8fa", PALE, round_by=12)
    picture.text(28, 37, "one process", colour=GREY, bold=True)

    picture.box(28, 70, 190, 104, SOFT_BLUE, BLUE)
    picture.text(44, 95, "host, in C", bold=True)
    picture.text(44, 120, "kvreg_bucket_put", size=12, mono=True)
    picture.text(44, 137, '(shopping, "milk", …)', size=12, mono=True)
    picture.text(44, 160, "the call runs on its thread", size=11, colour=GREY)

    picture.box(662, 70, 190, 104, SOFT_BLUE, BLUE)
    picture.text(678, 95, "plug-in, in Python", bold=True)
    picture.text(678, 120, 'prices["milk"]', size=12, mono=True)
    picture.text(678, 137, 'shopping["milk"]', size=12, mono=True)
    picture.text(678, 160, "a read takes no lock", size=11, colour=GREY)

    picture.box(252, 46, 376, 368, PAPER, GREY, round_by=10)
    picture.text(440, 66, "libkvreg", size=12, colour=GREY, anchor="middle", bold=True)
    picture.box(272, 80, 336, 64, SOFT_GREEN, GREEN)
    picture.text(440, 106, "registry \u201ckitchen\u201d", anchor="middle", bold=True)
    caption = "names the buckets, monitors and restarts them"
    picture.text(440, 128, caption, size=12, colour=GREY, anchor="middle")

    for x, name, pairs in ((272, "shopping", "milk 1|eggs 12"), (504, "prices", "milk 1.19")):
        picture.line([(x + 52, 144), (x + 52, 206)], GREEN, arrow=True)
        picture.box(x, 208, 104, 96, SOFT_GREEN, GREEN)
        picture.text(x + 52, 230, name, anchor="middle", bold=True)
        for row, pair in enumerate(pairs.split("|")):
            picture.text(x + 14, 255 + 18 * row, pair, size=12, mono=True)
        picture.text(x + 52, 322, "bucket", size=11, colour=GREY, anchor="middle")

    picture.line([(440, 144), (440, 206)], PALE, dashed=True)
    picture.box(386, 166, 108, 20, PAPER, PAPER)
    picture.text(440, 180, "name gone first", size=11, colour=RED, anchor="middle")
    picture.box(388, 208, 104, 96, SOFT_RED, RED, dashed=True)
    picture.text(440, 230, "garage", colour=RED, anchor="middle", bold=True)
    picture.text(440, 264, "crashed", size=12, colour=RED, anchor="middle")
    picture.line([(440, 304), (440, 348)], RED, arrow=True)
    picture.text(448, 332, "DOWN", size=11, colour=RED, bold=True)

    picture.box(330, 350, 220, 48, SOFT_ORANGE, ORANGE)
    picture.text(440, 370, "inbox of the host", anchor="middle", bold=True)
    down = "DOWN garage: CRASHED"
    picture.text(440, 388, down, size=12, anchor="middle", mono=True)
    picture.line([(330, 374), (123, 374), (123, 176)], ORANGE, arrow=True)
    picture.text(134, 366, "receive, or poll", size=12, colour=ORANGE)

    picture.line([(218, 112), (270, 112)], BLUE, arrow=True)
    picture.line([(662, 112), (610, 112)], BLUE, arrow=True)
    picture.line([(218, 150), (240, 150), (240, 250), (270, 250)], BLUE, arrow=True)
    picture.text(232, 268, "put", size=12, colour=BLUE, anchor="end")
    picture.line([(662, 150), (640, 150), (640, 250), (610, 250)], BLUE, arrow=True)
    picture.text(650, 268, "get", size=12, colour=BLUE)
    return picture


class Floor(NamedTuple):
    """A floor of the house, and its rooms."""

    number: int
    rooms: list[str]
    about: str


class Journey(NamedTuple):
    """What travels: the floors where it stops, in order, and what happens there."""

    title: str
    colour: str
    stops: list[tuple[int, str]]


FLOORS = [
    Floor(
        7,
        ["handle_table", "process", "api", "capi"],
        "handles; the process; for Rust; for C",
    ),
    Floor(6, ["protocol", "listener"], "the text protocol, over sockets"),
    Floor(5, ["bucket", "user_server", "registry"], "the three kinds of server"),
    Floor(4, ["log", "watch", "inbox"], "what is told to somebody"),
    Floor(3, ["store"], "what a bucket holds"),
    Floor(2, ["server"], "turn, mailbox, end, links, monitors"),
    Floor(1, ["runtime", "reclaim", "hash", "table"], "threads, fork, memory, the hash table"),
    Floor(0, ["error", "memory", "reason", "sync", "time", "value"], "words"),
]

JOURNEYS = [
    Journey(
        "put",
        BLUE,
        [
            (7, "check the handle"),
            (5, "check key and value"),
            (2, "take the turn"),
            (3, "change the entry"),
            (1, "find its cell"),
        ],
    ),
    Journey(
        "update",
        GREEN,
        [
            (7, "check the handle"),
            (2, "take the turn"),
            (5, "run the callback"),
            (3, "store its answer"),
        ],
    ),
    Journey(
        "cast",
        ORANGE,
        [
            (7, "check the handle"),
            (5, "copy the value"),
            (2, "queue it"),
            (1, "a worker drains"),
            (3, "change the entry"),
        ],
    ),
    Journey(
        "DOWN",
        RED,
        [
            (5, "the name goes"),
            (2, "no more mail"),
            (4, "DOWN into the inbox"),
            (7, "receive"),
        ],
    ),
]

_TOP, _STEP, _LEFT, _COLUMN = 62, 62, 356, 184


def architecture() -> Drawing:
    """The floors, and how four things travel through them."""
    width, height = _LEFT + len(JOURNEYS) * _COLUMN + 10, _TOP + len(FLOORS) * _STEP + 34
    picture = Drawing(width, height, "The floors of kvreg, and what travels through them")
    tops = {}
    for row, floor in enumerate(FLOORS):
        top = tops[floor.number] = float(_TOP + row * _STEP)
        picture.box(10, top, width - 20, _STEP - 8, "#f6f8fa", PALE)
        picture.text(26, top + 34, str(floor.number), size=18, colour=GREY, bold=True)
        x = 54.0
        for room in floor.rooms:
            across = 14 + 7.7 * len(room)
            picture.box(x, top + 8, across, 23, PAPER, GREY, round_by=4)
            picture.text(x + across / 2, top + 24, room, anchor="middle", bold=True)
            x += across + 6
        picture.text(54, top + 48, floor.about, size=12, colour=GREY)
    picture.text(
        26, 40, "A room knows those below it, and those to its left.", size=12, colour=GREY
    )
    for column, journey in enumerate(JOURNEYS):
        x = _LEFT + column * _COLUMN + 40
        picture.text(x - 9, 42, journey.title, size=16, colour=journey.colour, bold=True)
        places = [tops[floor] + 27.0 for floor, _ in journey.stops]
        for number, (start, end) in enumerate(zip(places, places[1:])):
            lane = x - 18 - 7 * number
            ways: list[tuple[float, float]]
            ways = [(x, start + 3), (lane, start + 3), (lane, end - 3), (x - 9, end - 3)]
            picture.line(ways, journey.colour, arrow=True)
        for number, (y, (_, what)) in enumerate(zip(places, journey.stops), start=1):
            picture.stop(x, y, number, journey.colour)
            picture.text(x + 15, y + 4, what, size=12, colour=INK)
    picture.text(26, height - 16, _FOOT, size=12, colour=GREY)
    return picture


_FOOT = "The numbers tell the order. Only what a worker drains leaves the calling thread."


if __name__ == "__main__":
    write({"kvreg": kvreg(), "architecture": architecture()})
