"""A decorator that keeps in a bucket what a function returns."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ._errors import CallingSelf

if TYPE_CHECKING:
    from . import aio
    from ._bucket import Bucket
    from ._values import Key

_Function = TypeVar("_Function", bound=Callable[..., Any])

_MISSING = object()

_LONGEST = 1000
"""A key of more characters is told by a checksum of its arguments."""


def cached(
    bucket: Bucket | aio.Bucket,
    *,
    ttl: float | None | object = _MISSING,
    key: Callable[..., Key] | None = None,
) -> Callable[[_Function], _Function]:
    """A decorator: what the function returns is kept in a bucket, and computed once per key.

    The key is `module.qualname(arguments)`. The arguments are those of the signature, by their
    names and with the defaults, each as `repr` shows it; they may be None, bool, int, float,
    str and bytes, and tuples, lists, sets and dicts of these. For others, as `self`, give
    `key`: it is called with the arguments, and what it returns stands in their place. If they
    are longer than 1,000 characters, a SHA-256 of them stands there. `ttl` is that of
    `Bucket.put`.

    A thread or task that wants what another is computing waits for that key alone. If the
    function raises, its caller gets the exception, nothing is kept, and one of those who wait
    computes instead. Who would wait for itself gets `CallingSelf`. This is of one process.

    The function may be one of `async def`; then the bucket may be one of `kvreg.aio`. The
    decorated function has `__wrapped__`, `cache_key(*args, **kwargs)`, which gives the key, and
    `cache_clear()`, which takes all of its keys out; of `async def` that is awaited. The
    function blocks as `get` and `put` of the bucket do, and while another computes.
    """
    put: dict[str, Any] = {} if ttl is _MISSING else {"ttl": ttl}

    def decorate(fn: _Function) -> _Function:
        cache = _Cache(bucket, fn, put, key)
        is_async = inspect.iscoroutinefunction(fn)
        if not is_async and inspect.iscoroutinefunction(getattr(bucket, "get", None)):
            raise TypeError("a bucket of kvreg.aio is for functions of async def")
        decorated: Any = _of_tasks(cache, fn) if is_async else _of_threads(cache, fn)
        decorated.cache_key = cache.key
        result: _Function = decorated
        return result

    return decorate


class _Cache:
    """What belongs to one function."""

    def __init__(
        self, bucket: Any, fn: Any, put: dict[str, Any], key: Callable[..., Key] | None
    ) -> None:
        self.bucket, self.put = bucket, put
        self._given = key
        self._signature = inspect.signature(fn)
        self.prefix = f"{fn.__module__}.{fn.__qualname__}("
        self._lock = threading.Lock()
        self._computed: dict[str, tuple[Hashable, Future[None]]] = {}
        """By key who computes it, and what those wait for who want it too."""

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The key of these arguments. Never blocks."""
        if self._given is not None:
            given = self._given(*args, **kwargs)
            text = (
                given.decode("utf-8", "surrogateescape") if isinstance(given, bytes) else given
            )
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            text = ", ".join(f"{name}={_text(it)}" for name, it in bound.arguments.items())
        if len(text) > _LONGEST:
            text = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{self.prefix}{text})"

    def begin(self, key: str, who: Hashable) -> Future[None] | None:
        """What is to be waited for; None if the caller computes, and says `end` then."""
        with self._lock:
            other = self._computed.get(key)
            if other is None:
                mine: Future[None] = Future()
                mine.set_running_or_notify_cancel()  # so that none who waits can cancel it
                self._computed[key] = who, mine
                return None
        if other[0] == who:
            raise CallingSelf(f"the function would wait for itself to compute {key!r}")
        return other[1]

    def end(self, key: str) -> None:
        with self._lock:
            _, mine = self._computed.pop(key)
        mine.set_result(None)


def _of_threads(cache: _Cache, fn: Any) -> Any:
    bucket = cache.bucket

    @functools.wraps(fn)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        key = cache.key(*args, **kwargs)
        while True:
            found = bucket.get(key, _MISSING)
            if found is not _MISSING:
                return found
            computed = cache.begin(key, threading.get_ident())
            if computed is None:
                break
            computed.result()
        try:
            found = bucket.get(key, _MISSING)  # it may have been stored meanwhile
            if found is _MISSING:
                found = fn(*args, **kwargs)
                bucket.put(key, found, **cache.put)
            return found
        finally:
            cache.end(key)

    def cache_clear() -> None:
        """Takes all keys of the function out. Waits for its turn."""
        for key in list(bucket):
            if key.startswith(cache.prefix):
                bucket.pop(key, None)

    result: Any = decorated
    result.cache_clear = cache_clear
    return result


def _of_tasks(cache: _Cache, fn: Any) -> Any:
    bucket = cache.bucket

    async def done(answer: Any) -> Any:
        return await answer if inspect.isawaitable(answer) else answer

    @functools.wraps(fn)
    async def decorated(*args: Any, **kwargs: Any) -> Any:
        key = cache.key(*args, **kwargs)
        while True:
            found = await done(bucket.get(key, _MISSING))
            if found is not _MISSING:
                return found
            computed = cache.begin(key, asyncio.current_task())
            if computed is None:
                break
            await asyncio.wrap_future(computed)
        try:
            found = await done(bucket.get(key, _MISSING))
            if found is _MISSING:
                found = await fn(*args, **kwargs)
                await done(bucket.put(key, found, **cache.put))
            return found
        finally:
            cache.end(key)

    async def cache_clear() -> None:
        """Takes all keys of the function out."""
        for key in list(await done(bucket.keys())):
            if key.startswith(cache.prefix):
                await done(bucket.pop(key, None))

    result: Any = decorated
    result.cache_clear = cache_clear
    return result


_PLAIN = (type(None), bool, int, float, str, bytes)


def _text(value: Any) -> str:
    """An argument as it stands in a key."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _PLAIN:
        return repr(value)
    if kind is list:
        return f"[{', '.join(map(_text, value))}]"
    if kind is tuple:
        return f"({''.join(f'{_text(it)}, ' for it in value)})"
    if kind in (set, frozenset):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if kind is dict:
        items = sorted(f"{_text(name)}: {_text(it)}" for name, it in value.items())
        return f"{{{', '.join(items)}}}"
    raise TypeError(
        f"an argument of type {kind.__name__} has no place in the key of a cache: give key="
    )
