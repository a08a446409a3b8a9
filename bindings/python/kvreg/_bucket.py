"""Buckets as mutable mappings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, Literal, TypeVar, overload

from . import _abi, _logging, _timeout
from ._accelerated import accelerated, know, own_slots
from ._changes import Batch, path_text
from ._codecs import Codec, checked_codec
from ._constants import DEFAULT, Default, Reason, Verdict, exit_arguments
from ._dict_methods import DictMethods
from ._errors import BucketNotFound, KeyNotFound
from ._handle import Handle, obtain
from ._info import BucketInfo, exit_reason
from ._library import Library
from ._revisions import Entry, add, compare_and_swap, entry, expire, last, put, remove
from ._scan import scan
from ._stores import after_mail, casts, keep, of_named, provide, uncut
from ._update import ABSENT
from ._values import Key, borrowed, encode_key, encoded, take

if TYPE_CHECKING:
    from ._bucket_options import BucketOptions
    from ._mirror import Mirror
    from ._watch import Watch

_Self = TypeVar("_Self", bound="Bucket")


@accelerated
class Bucket(DictMethods):
    """A bucket: a server that holds a map from key to value, used as a `dict` is.

    `Registry.create` and `Registry[name]` give named buckets; `Bucket()` starts one without
    a registry, which stops when its last handle is closed.

    Keys are str (UTF-8 with surrogateescape) or bytes, which are the same key as their text;
    they read back as str. Values are None, bool, int of 64 bits, float, str and bytes; with a
    `codec` they are what that encodes, and stored as bytes. Any contiguous buffer (bytearray,
    memoryview, an array) is stored as the bytes that it has, and numpy's integers, floats and
    bools as Python's. Iterating, `items()`, `values()`, `copy()`, `dict(bucket)` and
    `{**bucket}` see the bucket as it is at one instant. Two buckets are equal when their
    contents are, as with dicts, and have no hash; `name` tells which one it is. A bucket keeps
    the registry that it came from.

    >>> import kvreg
    >>> with kvreg.Bucket() as bucket:
    ...     bucket["milk"] = 1
    ...     print(bucket.update("milk", lambda n: n + 1), dict(bucket))
    2 {'milk': 2}

    Threads: any thread may use a bucket; each operation is done as a whole. Messages of one
    thread are handled in the order sent. Reads wait for nothing but casts of the same
    thread; everything else waits for its turn for at most `timeout` seconds, and Ctrl-C
    interrupts it. A change of a bucket that a store keeps has the turn while it is stored,
    for as long as that takes.

    Errors of all operations: `NoProcess` when the bucket had ended, `ServerDown` when it
    ended meanwhile, `CallTimeout` when the time was over and nothing was done, `CallingSelf`
    for a write from inside an update of the same bucket, `Closed` after `close`.
    """

    __slots__ = own_slots("_keeper")

    _kind = "bucket"
    _keeper: object
    """What keeps the registry that the bucket came from."""

    def __init__(
        self, options: BucketOptions | None = None, *, codec: Codec | None = None
    ) -> None:
        """Starts a bucket without a registry. Never blocks.

        It is never started again: `InvalidArgument` for `options` that say so.
        """
        codec = checked_codec(codec)
        self._forget()
        if options is None:
            super().__init__(*obtain("kvreg_bucket_start"))
        else:
            super().__init__(*obtain("kvreg_bucket_start_with", options_struct(options)))
        self._codec, self._keeper, self._readings = codec, None, []
        self._stored = self._shared = False  # that is for those that have a name

    @classmethod
    def _of(cls: type[_Self], library: Library, handle: int | None) -> _Self:
        bucket = super()._of(library, handle)
        bucket._codec, bucket._keeper, bucket._readings = None, None, []
        bucket._stored = bucket._shared = False
        return bucket

    def _wait(self, function: Callable[..., int], *arguments: Any) -> int:
        """As of any server; of a store that others change too in one piece."""
        if not self._shared or self._timeout == 0:
            return super()._wait(function, *arguments)
        has_cast = casts.forget(self)

        def call() -> int:
            # Another thread may do it, which has cast nothing.
            bucket = after_mail(self) if has_cast else self
            return function(bucket._handle, *arguments)

        return uncut(call)

    def clone(self: _Self) -> _Self:
        """Another handle to the same bucket, with timeout and codec of this one. Never blocks.

        As a context manager it is closed at the end of the block, and nothing else.
        """
        other = super().clone()
        other._codec, other._keeper = self._codec, self._keeper
        if self._stored:
            keep(other)
            other._timeout = self._timeout
        return other

    def close(self) -> None:
        """Frees the handle; closing twice is fine.

        From here on the object raises `Closed`. A bucket that has a name goes on as long as its
        registry does; one without ends with its last handle. Never blocks, and may be called
        while other threads use the object.
        """
        super().close()
        self._keeper = None

    @property
    def codec(self) -> Codec | None:
        """What makes bytes of the values, if anything does. Never blocks."""
        return self._codec

    @property
    def name(self) -> str | None:
        """The name under which the bucket is registered, after its end too. Never blocks."""
        name = _abi.Value()
        Handle._call(self, "kvreg_bucket_name", name)
        found: str | None = take(self._library, name)
        return found

    def __repr__(self) -> str:
        if self.closed:
            return "<kvreg.Bucket (closed)>"
        name = _abi.Value()
        if self._library.quick.kvreg_bucket_name(self._handle, name):
            return "<kvreg.Bucket>"
        return f"<kvreg.Bucket {take(self._library, name)!r}>"

    def put_cast(self, key: Key, value: Any) -> None:
        """Stores a value without waiting; what this thread does next sees it.

        Never blocks. `LimitReached` if too much is queued.
        """
        data, stored = encode_key(key), borrowed(encoded(self._codec, value))
        if self._shared:
            casts.note(self)
        Handle._call(self, "kvreg_bucket_put_cast", data, len(data), stored)

    def delete_cast(self, key: Key) -> None:
        """Takes a key out, if it is there, without waiting.

        Never blocks. `LimitReached` if too much is queued.
        """
        data = encode_key(key)
        if self._shared:
            casts.note(self)
        Handle._call(self, "kvreg_bucket_delete_cast", data, len(data))

    # Revisions and conditions

    def entry(self, key: Key) -> Entry:
        """The value of a key with its revision, both of the same change.

        `KeyError` if the key is absent. Does not wait for writers.
        """
        return entry(self, key)

    def put(
        self,
        key: Key,
        value: Any,
        *,
        ttl: float | None | Verdict | Default = DEFAULT,
        if_revision: int | None = None,
        if_absent: bool = False,
    ) -> int:
        """Stores a value, as `bucket[key] = value` does, and gives the revision of the change.

        A revision says one change: it is larger than those of all changes of this bucket that
        could be seen before, and of all buckets of its name. With `if_revision` the value is
        stored only if that is the revision of the key, and with `if_absent` only if the key is
        absent, which revision 0 means too; otherwise that is a `Conflict`, and nothing was
        changed. It compares and stores in one step. `ValueError` for both conditions at once,
        and for a revision that cannot be. Waits for its turn.

        `ttl` is the key's time to live in seconds: when it is over nobody sees the key any
        more, and soon it is gone from memory. None is for ever, and `kvreg.KEEP` what is left
        of the older one; without `ttl` it is that of the bucket's options. `ValueError` for no
        time at all, and for more than 100 years.
        """
        return put(self, key, value, ttl, if_revision, if_absent)

    def expire(self, key: Key, ttl: float | None) -> int:
        """Gives a key another time to live, in seconds, or None; answers the new revision.

        `KeyError` if the key is absent, `ValueError` for no time at all, and for more than 100
        years. Waits for its turn.
        """
        return expire(self, key, ttl)

    def remove(self, key: Key, *, if_revision: int | None = None) -> None:
        """Takes a key out; `KeyError` if it is absent.

        With `if_revision` only if that is its revision, in one step; otherwise that is a
        `Conflict`, and nothing was changed. `ValueError` for a revision that cannot be, as 0.
        Waits for its turn.
        """
        remove(self, key, if_revision)

    def add(self, key: Key, n: int = 1) -> int:
        """Adds an int to that of a key, in one step, and gives the sum; absent counts as 0.

        `WrongType` if the value is no int, `LimitReached` if the sum has no room in 64 bits,
        `OverflowError` if `n` has none; then nothing was changed. `TypeError` in a bucket
        with a codec. Waits for its turn.
        """
        return add(self, key, n)

    def compare_and_swap(self, key: Key, expected: Any, value: Any) -> bool:
        """Stores a value if the key has the expected one, in one step; says whether it did.

        `kvreg.ABSENT` stands for no value: as `expected` the key must be absent, and as
        `value` it is taken out. Values are equal if they are of one type and have the same
        bytes: 1 is neither True nor 1.0, and of floats the bits count. `TypeError` in a bucket
        with a codec, which may make other bytes of equal values. Waits for its turn.
        """
        return compare_and_swap(self, key, expected, value)

    def batch(self) -> Batch:
        """A block of changes that are made in one step at its end: all of them or none.

        `with bucket.batch() as batch:` gives what notes them: `batch[key] = value`, `del
        batch[key]`, and `put`, `remove` and `add`, with the times to live and the conditions
        that this bucket's have.
        Each sees what an earlier one makes of its key; others see nothing before the end, and
        then all. What refuses raises at the end, and nothing was changed: `Conflict`, whose
        `key` tells which, `KeyError`, `WrongType` or `LimitReached`. An exception in the block
        makes no change. `batch.revisions` has the revisions afterwards. The end of the block
        waits for its turn.
        """
        return Batch(self)

    def save(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """Writes all keys, as they are at one instant, into a file, with their revisions.

        A file that is there is replaced when the new one is whole and on the disk: a crash
        leaves one or the other. `OSError` if the system refuses; then the old one is as before.
        Blocks for the disk.
        """
        text = path_text(path)
        self._call_blocking("kvreg_bucket_save", text, len(text))

    def restore(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """Stores all keys of a file that `save` wrote in one step, in a bucket without keys.

        `Conflict` if it has some. Revisions are new, in the order of the saved ones. `OSError`
        if the file is damaged or the system refuses, `Unsupported` if its format is newer,
        `LimitReached` if a limit is; then the bucket is empty as before. Blocks for the disk,
        and waits for its turn.
        """
        text = path_text(path)
        self._call_blocking("kvreg_bucket_restore", text, len(text))

    def revision(self) -> int:
        """The revision of the last change, of whatever key; 0 if there was none.

        Does not wait for writers.
        """
        return last(self)

    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        keys_only: Literal[False] = ...,
    ) -> Iterator[tuple[str, Any]]: ...
    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        *,
        keys_only: Literal[True],
    ) -> Iterator[str]: ...
    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        keys_only: bool = ...,
    ) -> Iterator[tuple[str, Any]] | Iterator[str]: ...
    def scan(
        self,
        prefix: Key = "",
        after: Key | None = None,
        page: int = 1000,
        keys_only: bool = False,
    ) -> Iterator[tuple[str, Any]] | Iterator[str]:
        """Keys and values in the order of the keys' bytes, or the keys alone.

        It gives the keys that begin with `prefix`, from the first above `after` on. Nothing is
        read before it is asked for: in an ordered bucket `page` keys at a time, as they are at
        one instant, so that it costs what is taken of it; in another one all at one instant, at
        the first step. Each key comes at most once, and one that is there all the time comes.
        `ValueError` for a page below 1. Does not wait for a running update.
        """
        return scan(self, prefix, after, page, keys_only)

    def watch(
        self,
        prefix: Key = "",
        *,
        key: Key | None = None,
        keys_only: bool = False,
        only_new: bool = False,
        max_pending: int | None = None,
    ) -> Watch:
        """Follows the keys that begin with `prefix`, or one `key`; see `Watch`.

        With `keys_only` values are None. With `only_new` the present keys are not told at
        first. A watch that is more than `max_pending` changes of the whole bucket behind begins
        anew; 65,536, which is also the most. The first watch of a bucket takes 4 MiB. Blocks
        while the bucket is changed, as long as `timeout`.
        """
        from ._watch import Changes, Watch, wanted  # they know buckets

        how = wanted("watch", prefix, key, keys_only, only_new, max_pending)
        return Watch(Changes(self, how, self._codec))

    def mirror(self, prefix: Key = "") -> Mirror:
        """A mapping that follows the keys that begin with `prefix`, by a thread; see `Mirror`.

        Blocks as `watch`.
        """
        from ._mirror import Mirror

        return Mirror(self.watch(prefix))

    # Its end

    def stop(self) -> None:
        """Ends the bucket, reason NORMAL, after what is queued.

        When it returns the bucket is gone, and its name too. Waits for its turn.
        """
        self._call_blocking("kvreg_bucket_stop")

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the bucket at once; monitors get the reason and the detail.

        What is queued is dropped, and the name is gone when it returns; a running update is
        not interrupted, but changes nothing. `Reason.NORMAL` does nothing, and
        `Reason.NOPROC` is an `InvalidArgument`. Never waits for a turn.
        """
        self._call_blocking("kvreg_bucket_exit", *exit_arguments(reason, detail))

    def link(self, other: Bucket) -> None:
        """Links two buckets (Erlang's link): when one ends abnormally, so does the other.

        That is for any reason but NORMAL, and the other one ends for the same. Linking twice
        is once; a bucket to itself is nothing. `NoProcess` if either has ended. A bucket that
        is started again has no links. Never blocks.
        """
        Handle._call(self, "kvreg_bucket_link", _handle_of(other))

    def unlink(self, other: Bucket) -> None:
        """Takes a link away; without one it does nothing. Never blocks."""
        Handle._call(self, "kvreg_bucket_unlink", _handle_of(other))

    def info(self) -> BucketInfo:
        """What there is to know about the bucket. Waits for casts of this thread only."""
        stats = _abi.BucketStats()
        self._call("kvreg_bucket_info", stats)
        return BucketInfo(
            keys=stats.keys,
            bytes=stats.bytes,
            mailbox=stats.mailbox,
            handled=stats.handled,
            restarts=stats.restarts,
            last_exit=exit_reason(stats.last_exit),
            hits=stats.hits,
            misses=stats.misses,
            expired=stats.expired,
            evicted=stats.evicted,
            ordered=stats.order == _abi.ORDERED,
            store=stats.store.decode() or None,
            away=stats.store_level == _abi.STORE_AWAY,
            lacks=frozenset(name for bit, name in _LACKS if stats.lacks & bit),
        )


_LACKS = (
    (_abi.LACKS_BATCHES, "batches"),
    (_abi.LACKS_TTL, "ttl"),
    (_abi.LACKS_WHOLE, "whole"),
)

know(absent=ABSENT, key_not_found=KeyNotFound, keep=Verdict.KEEP, remove=Verdict.REMOVE)
know(
    bucket=Bucket,
    bucket_not_found=BucketNotFound,
    pointer=ctypes.c_void_p,
    stores=of_named,
    timeouts=vars(_timeout),
)
know(follow=_logging.follow, logging=vars(_logging))


def options_struct(options: BucketOptions) -> _abi.BucketOptions:
    """The options as the library takes them, with the engine of their store."""
    from ._bucket_options import bucket_struct  # not before it is needed, see there

    made = bucket_struct(options)
    if options.store is not None:
        provide(options.store)
    return made


def _handle_of(bucket: Bucket) -> int | None:
    if not isinstance(bucket, Bucket):
        raise TypeError(f"expected a Bucket, not {type(bucket).__name__}")
    return bucket._handle
