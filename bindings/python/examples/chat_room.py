"""A chat room: a server of asyncio, whose guests are connections to kvreg's own port.

    python chat_room.py         three guests meet, and their words are printed
    python chat_room.py 4040    the room is open at that port of this machine, until Ctrl-C

Then anybody comes by `nc 127.0.0.1 4040`, in two terminals, for who subscribes has nothing more
to say. Write `SUBSCRIBE room` in one. In the other say something, and leave in the end:

    PUT said ann hello_everybody
    DELETE said ann

A guest writes into the bucket "said", under the guest's name, and comes in by the first words.
The room watches this bucket. It writes its lines into the bucket "room", of which all guests
hear. The port has no quoting, so guests write `_` for a blank. Who is silent for long has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from typing import Any

import kvreg
from kvreg import aio

LINES = 20
"""So many lines the room keeps."""
SILENCE = 600.0
"""Seconds after which a silent guest has left."""


class Room(aio.Server):
    """Knows who is there, and what was said last."""

    def __init__(self, said: aio.Bucket, lines: aio.Bucket) -> None:
        self.lines = lines
        self.guests: dict[str, int] = {}  # with the revision of their last words
        self.history: deque[str] = deque(maxlen=LINES)
        self.count = 0
        self.listening = asyncio.create_task(listen(self.me, said))

    @aio.call
    async def hear(self, guest: str, words: str, revision: int) -> None:
        """A guest says something."""
        if guest not in self.guests:
            await self._tell(f"{guest} comes in")
        if self.guests.get(guest) != revision:  # else the watch has begun anew
            self.guests[guest] = revision
            await self._tell(f"{guest}: {words}")

    @aio.call
    async def miss(self, guest: str) -> None:
        """A guest has left."""
        if self.guests.pop(guest, None) is not None:
            await self._tell(f"{guest} leaves")

    @aio.call
    async def end_meeting(self) -> list[str]:
        """Writes the minutes, and ends."""
        # The port cannot tell a value with line breaks: guests hear that the minutes CHANGED.
        await self.lines.put("minutes", "\n".join(self.history))
        raise kvreg.Stop(list(self.history))

    async def _tell(self, line: str) -> None:
        self.history.append(line)
        await self.lines.put(str(self.count % LINES), line)
        self.count += 1

    def on_terminate(self, reason: kvreg.Reason) -> None:
        """Listens no more."""
        self.listening.cancel()


async def listen(room: Room, said: aio.Bucket) -> None:
    """Tells the room what guests say, until one of the two has ended."""
    with contextlib.suppress(kvreg.NoProcess, kvreg.ServerDown):
        async with said.watch() as watch:
            async for change in watch:
                if isinstance(change, kvreg.Put):
                    await room.hear(change.key, words_of(change.value), change.revision)
                elif isinstance(change, (kvreg.Delete, kvreg.Expire)):
                    await room.miss(change.key)


def words_of(value: Any) -> str:
    """What was said, as words in one line. What is not UTF-8 has come as bytes."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return " ".join(text.replace("_", " ").split())


class Guest:
    """A client of the port, who knows nothing of Python."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[str] = []

    async def arrive(self, host: str, port: int) -> None:
        """Comes to the door, and hears from then on."""
        self.lines, self.listener = await asyncio.open_connection(host, port)
        self.answers, self.speaker = await asyncio.open_connection(host, port)
        self.listener.write(b"SUBSCRIBE room\n")
        # That has no answer. It has begun when the guest hears a knock of its own.
        is_heard = False
        while not is_heard:
            await self.ask(f"PUT room knock {self.name}")
            with contextlib.suppress(asyncio.TimeoutError):
                is_heard = await asyncio.wait_for(self.hear(), 0.05) == f"knock {self.name}"

    async def ask(self, line: str) -> None:
        """Sends a line, which must be answered by OK."""
        self.speaker.write(line.encode() + b"\n")
        answer = await self.answers.readline()
        if answer != b"OK\r\n":
            raise ConnectionError(f"{line!r} was answered by {answer!r}")

    async def hear(self) -> str:
        """The next line of the room; of something else what was changed."""
        line = await self.lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the room is gone")
        key, is_set, value = line[:-2].decode().partition(" SET TO ")
        if not is_set:
            return key  # "minutes CHANGED"
        return value if key.isdecimal() else f"{key} {value}"

    async def visit(self, talk: list[tuple[str, str]]) -> None:
        """Says its part of a talk when it has heard what comes before, and stays to the end."""
        for who, words in talk:
            if who == self.name and words:
                await self.ask(f"PUT said {who} {words.replace(' ', '_')}")
            elif who == self.name:
                await self.ask(f"DELETE said {who}")
            await self._listen_until(f"{who}: {words}" if words else f"{who} leaves")

    async def _listen_until(self, last: str) -> None:
        line = ""
        while line != last:
            line = await self.hear()
            if not line.startswith("knock "):
                self.heard.append(line)

    async def go_home(self) -> None:
        """Leaves when the minutes are written."""
        await self._listen_until("minutes CHANGED")
        for connection in (self.listener, self.speaker):
            connection.close()
            await connection.wait_closed()


TALK = [
    ("ann", "hello everybody"),
    ("bob", "hello ann"),
    ("carl", "is there any milk"),
    ("ann", "one bottle"),
    ("carl", ""),
    ("bob", "so there was"),
    ("bob", ""),
    ("ann", ""),
]
"""Who says what; nothing: leaves."""


async def meet(room: Room, host: str, port: int) -> None:
    """Has three guests meet; prints what the room tells of it, and how many heard that."""
    guests = [Guest(name) for name in ("ann", "bob", "carl")]
    for guest in guests:
        await guest.arrive(host, port)
    await asyncio.gather(*(guest.visit(TALK) for guest in guests))
    lines = await room.end_meeting()
    await asyncio.gather(*(guest.go_home() for guest in guests))
    print(*lines, sep="\n")
    heard = sum(guest.heard == [*lines, "minutes CHANGED"] for guest in guests)
    print(f"{heard} guests heard these {len(lines)} lines")


async def run(registry: kvreg.Registry, host: str, port: int, is_open: bool) -> None:
    """Has a room in the registry, for three guests or for anybody."""
    async with aio.Registry.of(registry) as mine:
        silence = kvreg.BucketOptions(default_ttl=SILENCE)
        said = await mine.create("said", options=silence)
        lines = await mine.create("room")
        room = await Room.start(mine, "the room", said, lines)
        if not is_open:
            await meet(room, host, port)
            return
        print(f"the room is open at {host}:{port}", flush=True)
        try:
            await asyncio.Event().wait()  # until Ctrl-C
        finally:
            await room.stop()


def main(arguments: list[str]) -> int:
    """The program; gives its exit status."""
    port = arguments[0] if arguments else "0"
    if len(arguments) > 1 or not port.isdecimal() or int(port) > 65535:
        print("usage: chat_room.py [PORT]", file=sys.stderr)
        return 2
    try:
        with kvreg.Registry() as registry, kvreg.Listener(registry, port) as listener:
            host, number = listener.address
            asyncio.run(run(registry, host, number, is_open=bool(arguments)))
    except kvreg.IOFailed as failed:
        print(f"chat_room.py: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("the room is closed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
