"""Codecs: values of other types than a bucket holds, as bytes."""

from __future__ import annotations

from typing import Any, Optional, Protocol, cast


class Codec(Protocol):
    """Makes bytes of a value, and a value of bytes; both may raise what they like."""

    def encode(self, value: Any, /) -> bytes:
        """The bytes that are stored for a value."""
        ...

    def decode(self, data: bytes, /) -> Any:
        """The value of bytes that `encode` gave."""
        ...


def checked_codec(codec: object) -> Codec | None:
    """A codec, if it is one: not the name of one."""
    if codec is None or all(callable(getattr(codec, do, None)) for do in ("encode", "decode")):
        return cast(Optional[Codec], codec)
    raise TypeError(
        "a codec is an object with the methods encode and decode, as kvreg.JSON and"
        f" kvreg.PICKLE are, not {codec!r}"
    )


class JSONCodec:
    """Values that `json` takes, as UTF-8; tuples come back as lists, and so on, as there."""

    def encode(self, value: Any, /) -> bytes:
        """The bytes that are stored for a value; `TypeError` for what JSON has no word for."""
        import json  # not before it is needed: importing kvreg should cost little

        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")

    def decode(self, data: bytes, /) -> Any:
        """The value of bytes that `encode` gave."""
        import json

        return json.loads(data.decode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return "kvreg.JSON"


class PickleCodec:
    """Values that `pickle` takes. Read only what you trust: a pickle can run any code."""

    def encode(self, value: Any, /) -> bytes:
        """The bytes that are stored for a value."""
        import pickle

        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, data: bytes, /) -> Any:
        """The value of bytes that `encode` gave."""
        import pickle

        return pickle.loads(data)

    def __repr__(self) -> str:
        return "kvreg.PICKLE"


JSON = JSONCodec()
"""A codec for what `json` takes, as UTF-8; tuples come back as lists, and so on, as there."""
PICKLE = PickleCodec()
"""A codec for what `pickle` takes. Read only what you trust: a pickle can run any code."""
