"""Several changes of a bucket in one step."""

from __future__ import annotations

import ctypes
import operator
import os
from typing import TYPE_CHECKING, Any

from . import _abi
from ._constants import DEFAULT
from ._errors import Conflict, Error, InvalidArgument, KeyNotFound
from ._hot import LONGEST, TOO_LONG
from ._revisions import expected_revision, milliseconds, without_codec
from ._values import Key, borrowed, encode_key, encoded

if TYPE_CHECKING:
    from ._bucket import Bucket
    from ._codecs import Codec
    from ._constants import Default, Verdict

_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1


class Changes:
    """Changes that are noted, to be made in one step: all of them or none.

    Each sees what an earlier one makes of its key. Nothing here blocks, or touches the bucket.
    """

    __slots__ = ("_bucket", "_keys", "_ops", "revisions")

    _bucket: Bucket
    _keys: list[Key]
    _ops: list[_abi.Op]
    revisions: list[int]
    """Of the changes, in their order, once they were made."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._keys, self._ops, self.revisions = [], [], []

    def _note(self, what: int, key: Key) -> _abi.Op:
        data = encode_key(key)
        if len(data) > LONGEST:
            raise InvalidArgument(TOO_LONG)
        op = _abi.Op(op=what, key=data, key_len=len(data))
        self._keys.append(key)
        self._ops.append(op)
        return op

    def put(
        self,
        key: Key,
        value: Any,
        *,
        ttl: float | None | Verdict | Default = DEFAULT,
        if_revision: int | None = None,
        if_absent: bool = False,
    ) -> None:
        """Stores a value, with a time to live and a condition: all is as of `Bucket.put`.

        The time begins when the change is made. Never blocks.
        """
        ttl_ms = milliseconds(ttl).value
        stored = borrowed(encoded(self._codec, value))
        expected = None
        if if_absent or if_revision is not None:
            expected = expected_revision(if_revision, if_absent).value
        op = self._note(_abi.OP_PUT if expected is None else _abi.OP_PUT_IF, key)
        op.value = stored
        op.expected = expected or 0
        op.ttl_ms = ttl_ms

    def remove(self, key: Key, *, if_revision: int | None = None) -> None:
        """Takes a key out, on a condition perhaps: `KeyError` at the end if it is absent.

        Never blocks.
        """
        if if_revision is None:
            self._note(_abi.OP_DELETE, key)
            return
        expected = expected_revision(if_revision, False).value
        if expected == 0:
            raise InvalidArgument("a key that is absent cannot be removed")
        self._note(_abi.OP_DELETE_IF, key).expected = expected

    def add(self, key: Key, n: int = 1) -> None:
        """Adds an int to that of a key; absent counts as 0.

        `TypeError` in a bucket with a codec. Never blocks.
        """
        without_codec(self._bucket, "add", "the function of an update can add")
        n = operator.index(n)
        if not _INT_MIN <= n <= _INT_MAX:
            raise OverflowError("an int value has 64 bits: so has what is added")
        self._note(_abi.OP_ADD, key).delta = n

    def __setitem__(self, key: Key, value: Any) -> None:
        """The same as `put`. Never blocks."""
        self.put(key, value)

    def __delitem__(self, key: Key) -> None:
        """The same as `remove`. Never blocks."""
        self.remove(key)

    def __len__(self) -> int:
        """How many changes were noted. Never blocks."""
        return len(self._ops)

    @property
    def _codec(self) -> Codec | None:
        return self._bucket._codec


def apply(bucket: Bucket, changes: Changes) -> None:
    """Makes them, or raises what the first of them that refuses says."""
    count = len(changes._ops)
    if count == 0:
        return
    # The structs of the list keep the texts; these are copies of theirs.
    ops = (_abi.Op * count)(*changes._ops)
    failed = ctypes.c_size_t(count)
    status = bucket._wait_or_not("kvreg_bucket_apply", ops, count, ctypes.byref(failed))
    if status:
        raise _refused(bucket, status, changes, failed.value)
    changes.revisions = [op.revision for op in ops]


def _refused(bucket: Bucket, status: int, changes: Changes, failed: int) -> Exception:
    if failed >= len(changes._keys):
        return bucket._error(status)
    key = changes._keys[failed]
    if status == KeyNotFound.status:
        return KeyNotFound(key)
    error = bucket._error(status)
    if isinstance(error, Conflict):
        error.key = key
    if isinstance(error, Error) and error.args:
        error.args = (f"{error.args[0]}: {key!r}", *error.args[1:])
    return error


class Batch(Changes):
    """A block of changes that are made in one step at its end; `Bucket.batch` gives one."""

    __slots__ = ()

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Makes the changes, unless the block raised something. Waits for its turn."""
        if kind is None:
            apply(self._bucket, self)


def path_text(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> bytes:
    """A path as the library takes it: UTF-8."""
    text = os.fsdecode(os.fspath(path))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"a path is UTF-8, and not {path!r}") from None
