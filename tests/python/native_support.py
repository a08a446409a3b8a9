"""All short ways of the extension, one after the other; also where there is no pytest."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from typing import Any, Callable

import kvreg
from kvreg import _abi


class Counter(kvreg.Server):
    """Counts."""

    answers = (ValueError,)

    def __init__(self) -> None:
        self.n = 0

    @kvreg.call
    def add(self, by: int = 1, *more: int, twice: bool = False) -> int:
        if by < 0:
            raise ValueError(by)
        self.n += (by + sum(more)) * (1 + twice)
        return self.n

    @kvreg.call
    def itself(self) -> Counter:
        return self

    @kvreg.cast
    def forget(self) -> None:
        self.n = 0


def started_in_c(registry: kvreg.Registry) -> Any:
    """A server whose handler answers nothing to everything."""
    library, server = registry._library, ctypes.c_void_p()
    # It gets a state that is NULL, and answers 0: as a handler does that keeps its server.
    answers_0 = ctypes.cast(library.kvreg_server_free, ctypes.c_void_p).value
    options = _abi.ServerOptions(handle=answers_0)
    assert not library.kvreg_registry_start_server(
        *(registry._handle, b"in C", 4, 0, options, ctypes.byref(server), None)
    )
    library.kvreg_server_free(server)
    return registry.servers["in C"]


def everything(registry: kvreg.Registry) -> Callable[[], None]:
    """One step that goes each short way, and the long one behind it."""
    bucket = registry.create("everything")
    server, in_c = Counter.start(registry, "counter"), started_in_c(registry)
    pairs = {f"key {number}": f"value {number}" for number in range(50)}
    names = [*pairs, "none"]
    none: dict[str, object] = {}

    def recurs(text: str) -> object:
        return bucket.update(text, str)

    def step() -> None:
        bucket.put_many(pairs)
        assert bucket.get_many(names, None)[-1] is None
        assert len(bucket) == 50 == len(bucket.items()) == len([*bucket])
        assert dict(bucket) == pairs == bucket.copy() and bucket.get_many(iter(names))[0]
        bucket.update({"key 1": "value 1", b"key 2": "value 2"})
        for refused in ({"k": object()}, {"k" * 65_537: 1}, [None], None):
            with contextlib.suppress(TypeError, kvreg.InvalidArgument):
                bucket.put_many(refused)  # type: ignore[arg-type]
        with contextlib.suppress(TypeError):
            bucket.get_many([None, 1])  # type: ignore[list-item]
        for key, value in ((b"k", b"v" * 70), ("\u00fc", "\u00fc" * 2000), ("l", b"v" * 9000)):
            bucket[key] = value
            assert bucket[key] == value == bucket.get(key) and key in bucket
            assert bucket.update(key, lambda it: it) == value == bucket.setdefault(key, 1)
            assert bucket.pop(key) == value and bucket.pop(key, None) is None
        assert bucket.update("n", lambda n: n + 1, default=10**10) == 10**10 + 1
        assert bucket.add("n", 10**10) == 2 * 10**10 + 1
        assert bucket.update("n", lambda _: kvreg.REMOVE) is None
        for wrong in (abs, none.__getitem__, recurs):
            with contextlib.suppress(TypeError, KeyError, kvreg.CallingSelf):
                bucket.update("key 2", wrong)
        assert "everything" in registry and registry["everything"].name == "everything"
        assert registry["everything"]["key 1"] == "value 1"
        server.forget()
        assert server.add(1000) == 1000 and server.add(by=1, twice=True) == 1002
        assert server.add(1, 2, 3) == 1008
        assert in_c.call("anything", 1, "text", b"bytes", None, 1.5, True) is None
        with contextlib.suppress(kvreg.InvalidArgument):
            in_c.call("")
        try:
            server.add(-1000)
        except ValueError as raised:
            assert raised.args == (-1000,)
        with kvreg.Inbox() as inbox:
            watch = bucket.watch("key 1", only_new=True)
            bucket["key 1"] = "changed"
            while not isinstance(watch.receive(), kvreg.Put):
                pass
            watch.close()
            reference = inbox.monitor(registry.create("ends"))
            registry["ends"].exit(kvreg.Reason.SHUTDOWN, "\u00fc")
            down = inbox.receive(timeout=None)
            assert down == kvreg.Down(reference, kvreg.Reason.SHUTDOWN, "ends", "\u00fc")
        bucket.clear()

    return step


def forget() -> None:
    """Has Python forget what it could find again."""
    gc.collect()
    # It keeps the names of attributes that were looked up.
    clear: Any = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
    clear()
