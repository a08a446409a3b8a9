"""Mirrors: mappings that are kept by a watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import CallTimeout, Closed, NoProcess
from ._watch import Current, Delete, Evict, Expire, Put, Reset

if TYPE_CHECKING:
    from ._inbox import Down
    from ._watch import Watch

_Self = TypeVar("_Self", bound="Mirror")


class Shown(Mapping[str, Any]):
    """What a watch has told, of which a round is shown only when it is complete."""

    __slots__ = ("__weakref__", "_error", "_round", "_shown")

    _package = "kvreg"

    def __init__(self) -> None:
        # The keys that are shown, with the revision up to which they are known.
        self._shown: tuple[dict[str, Any], int] = ({}, 0)
        # What a round has told until now.
        self._round: dict[str, Any] | None = {}
        self._error: BaseException | None = None

    def _learn(self, change: object) -> bool:
        """Whether a round was completed by that."""
        keys, revision = self._shown
        if isinstance(change, Reset):
            self._round = {}
        elif isinstance(change, Current):
            self._shown, self._round = (self._round or {}, change.revision), None
            return True
        elif isinstance(change, (Put, Delete, Expire, Evict)):
            into = keys if self._round is None else self._round
            if isinstance(change, Put):
                into[change.key] = change.value
            else:
                into.pop(change.key, None)
            if self._round is None:
                self._shown = (keys, max(revision, change.revision))
        return False

    @property
    def revision(self) -> int:
        """Up to it the keys are known; 0 before the first round. Never blocks."""
        return self._shown[1]

    def __getitem__(self, key: str, /) -> Any:
        return self._shown[0][key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._shown[0]))

    def __len__(self) -> int:
        return len(self._shown[0])

    def __contains__(self, key: object) -> bool:
        return key in self._shown[0]

    def __repr__(self) -> str:
        return f"<{self._package}.Mirror of {len(self)} keys at {id(self):#x}>"


class Mirror(Shown):
    """The keys of a bucket as this program has heard of them; `Bucket.mirror` gives one.

    Reading it costs what reading a dict costs, and waits for nothing. It lags behind the bucket
    by what its thread has not received yet. A round (see `Watch`) is shown only when it is
    complete. As a context manager it is closed at the end of the block; it is to be closed, for
    it has a thread.

    >>> import kvreg
    >>> with kvreg.Bucket() as bucket:
    ...     bucket["user:1"] = "Ada"
    ...     with bucket.mirror("user:") as mirror:
    ...         mirror.wait_current(5.0)
    ...         print(dict(mirror), mirror.revision == bucket.revision())
    {'user:1': 'Ada'} True

    Threads: any thread may use it.
    """

    __slots__ = ("_changed", "_thread", "_watch")

    def __init__(self, watch: Watch) -> None:
        """Made by `Bucket.mirror`."""
        super().__init__()
        self._watch = watch
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="kvreg-mirror", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for change in self._watch:
                with self._changed:
                    if self._learn(change):
                        self._changed.notify_all()
            error: BaseException = NoProcess("what was watched has ended")
            if self._watch.down is None:
                error = Closed("the mirror is closed")
        except BaseException as failure:  # as what a codec raises
            error = failure
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait_current(self, timeout: float | None = None) -> None:
        """Waits until all keys are shown: at first, and after each round.

        `CallTimeout` (a `TimeoutError`) if that takes longer than `timeout` seconds; None is
        for ever. `NoProcess` if the bucket has ended, `Closed` after `close`, and what a codec
        raised that could not decode a value. Blocks.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._round is None or self._error is not None, timeout
            )
            if self._error is not None:
                raise self._error
            if not done:
                raise CallTimeout("the mirror did not become current in time")

    @property
    def down(self) -> Down | None:
        """How the bucket ended, once that is known. Never blocks."""
        return self._watch.down

    def close(self) -> None:
        """Follows no more; what is shown stays. Closing twice is fine. Waits for its thread."""
        self._watch.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
