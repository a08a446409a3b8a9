"""Handles of servers that programs write, in whatever language."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from . import _abi, _table, _target, _turns
from ._accelerated import accelerated, know, native, own_slots
from ._arguments import values_of
from ._constants import Reason, Status
from ._errors import (
    CallingSelf,
    Error,
    ServerDown,
    Unsupported,
    last_error,
    of_status,
)
from ._info import ServerInfo
from ._later import Later
from ._library import Library
from ._logging import follow
from ._server import Server
from ._table import Cell, OwnInbox, Parcel, Spec
from ._target import address, posted, tag_of
from ._tracebacks import last_line
from ._turns import NOW
from ._values import take

if TYPE_CHECKING:
    from ._codecs import Codec
    from ._kind import Kind

_Self = TypeVar("_Self", bound="Remote")

Answered = tuple[int, _abi.Value, Optional[str]]


@accelerated
class Remote(Server):
    """A handle of a server, whose methods are those that its class has marked."""

    __slots__ = own_slots(
        "_at", "_begin", "_cell", "_codec", "_end", "_keeper", "_spec_or_none"
    )

    _kind = "server"
    _kind_of_server: Kind | None = None
    _at: ctypes.c_void_p
    _begin: Callable[..., int]
    _end: Callable[..., int]
    _cell: Cell | None
    """That of its process, once a turn has told which that is."""
    _codec: Codec | None
    _keeper: object
    """What keeps the registry that the server is in."""
    _spec_or_none: Spec | None

    @classmethod
    def _of(cls: type[_Self], library: Library, handle: int | None) -> _Self:
        remote = super()._of(library, handle)
        remote._at = ctypes.c_void_p(handle)
        remote._begin, remote._end = library.hot.server_begin, library.hot.turn_end
        remote._cell = remote._codec = remote._keeper = remote._spec_or_none = None
        return remote

    @property
    def _spec(self) -> Spec:
        assert self._spec_or_none is not None
        return self._spec_or_none

    def _adopt(self, spec: Spec | None, codec: Codec | None, keeper: object) -> None:
        """Says what it is a handle of."""
        self._spec_or_none, self._codec, self._keeper = spec, codec, keeper

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one. Never blocks."""
        other = super().clone()
        other._adopt(self._spec_or_none, self._codec, self._keeper)
        other._cell = self._cell
        return other

    def close(self) -> None:
        """Frees the handle; closing twice is fine. Never blocks.

        A server that has a name goes on; one without ends with its last handle.
        """
        super().close()
        self._keeper = None

    @property
    def name(self) -> str | None:
        """The name under which it is registered, after its end too. Never blocks."""
        return _target.name_of(self)

    @property
    def me(self: _Self) -> _Self:
        """Another handle to the same server. Never blocks."""
        return self.clone()

    def __repr__(self) -> str:
        kind = "a server" if self._kind_of_server is None else self._kind_of_server.server
        what = kind if isinstance(kind, str) else kind.__qualname__
        if self.closed:
            return f"<{what} (closed)>"
        name = "" if self._called is None else f" {self._called!r}"
        return f"<{what}{name}>"

    # What is sent by its tag

    def call(self, tag: str, *values: Any) -> Any:
        """Calls by a tag, a server in any language; see `kvreg.Server.call`. Blocks."""
        if self._kind_of_server is not None:
            return self._method(tag, is_call=True)(*values)
        sent = values_of(values, self._codec)
        name = tag_of(tag)
        return self._answered(self._ask(name, sent, len(values)))

    def cast(self, tag: str, *values: Any) -> None:
        """Sends by a tag, to a server in any language, as `kvreg.Server.cast`. Never blocks."""
        if self._kind_of_server is not None:
            self._method(tag, is_call=False)(*values)
            return
        self._cast(tag, values, {})

    def _method(self, tag: str, is_call: bool) -> Callable[..., Any]:
        """The method of this handle that a tag names."""
        kind = self._kind_of_server
        method = None if kind is None else kind.methods.get(tag)
        if method is None or method.is_call != is_call:
            what = "call" if is_call else "cast"
            raise Unsupported(f"{self._called!r} does not know the {what} {tag!r}")
        found: Callable[..., Any] = getattr(self, tag)
        return found

    def _cast(self, tag: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name, cast = tag_of(tag), self._library.quick.kvreg_server_cast
        posted(
            self,
            self._spec_or_none,
            args,
            kwargs,
            lambda at, count: cast(self._handle, name, len(name), at, count),
        )

    def _ask(self, tag: bytes, values: Any, count: int) -> Answered:
        """Calls as a message: the status, the answer, and what was said about it.

        None was said where the library has it as its last error.
        """
        follow()
        reply, library = _abi.Value(), self._library
        is_main = threading.get_ident() == threading.main_thread().ident
        call = library.kvreg_server_call
        # By callbacks it meets nobody, and is done at once; else Ctrl-C is to end the wait.
        if is_main and self._timeout != 0:
            status = call(self._at_once(), tag, len(tag), values, count, reply)
            if status != Status.TIMEOUT:
                return status, reply, None
        if not is_main or self._timeout == 0 or is_inside(library):
            status = call(self._handle, tag, len(tag), values, count, reply)
            return status, reply, None
        inbox, reference = OwnInbox(), ctypes.c_uint64()
        request = library.quick.kvreg_server_request
        asked = request(
            *(
                self._handle,
                tag,
                len(tag),
                values,
                count,
                inbox._handle,
                ctypes.byref(reference),
            )
        )
        self._check(asked)
        event = _abi.Event()
        try:
            inbox._check(inbox.next_event(event, None))
        except BaseException:
            library.quick.kvreg_inbox_abandon(inbox._handle, reference)
            raise
        finally:
            inbox.close()
        return replied(library, event)

    def _answered(self, answered: Answered) -> Any:
        """The value of an answer; raises what else it is."""
        status, reply, said = answered
        if status:
            raise self._refusal(status, said)
        value = take(self._library, reply)
        if self._codec is not None and isinstance(value, bytes):
            return self._codec.decode(value)
        return value

    def _refusal(self, status: int, said: str | None) -> Error:
        name = self._library.quick.kvreg_status_message(status).decode()
        if said is None and status == Status.ABORTED:
            # Behind what the status means is the text of whoever refused, if there is one.
            said = last_error(self._library).partition(f": {name}: ")[2]
        elif said is None:
            return self._error(status)
        return of_status(status, f"Server.call of {self._called!r}: {said or name}")

    def _by_message(self, tag: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls a server of Python's whose calls do not run on this thread."""
        from . import _serving

        spec = self._spec
        if _serving.is_served_here(spec):
            raise CallingSelf(
                f"{self._called!r} hands its calls over to the thread that makes this one"
            )
        parcel, name, asked = Parcel(args, kwargs), tag.encode(), spec.table.asked
        asked[parcel.number] = parcel
        try:
            answered = self._ask(name, address(spec, parcel), 1)
        finally:
            asked.pop(parcel.number, None)
        return of_parcel(self, parcel, answered)

    # Infos, timers, life and death

    def send(self, tag: str, *values: Any) -> None:
        """Sends an info: `on_info` gets it; see `kvreg.Server.send`. Never blocks."""
        _target.send(self, self._spec_or_none, 0, tag, values)

    def send_next(self, tag: str, *values: Any) -> None:
        """For the server itself; see `kvreg.Server.send_next`. Never blocks."""
        _target.send(self, self._spec_or_none, _abi.SEND_NEXT, tag, values)

    def send_after(self, delay: float, tag: str, *values: Any) -> int:
        """Sends an info in a while; see `kvreg.Server.send_after`. Never blocks."""
        return _target.send_after(self, self._spec_or_none, delay, tag, values)

    def cancel(self, reference: int) -> float | None:
        """Takes a timer back; see `kvreg.Server.cancel`. Never blocks."""
        return _target.cancel(self, reference)

    def monitor(self, server: Any) -> int:
        """Has it told of the end of another; see `kvreg.Server.monitor`. Never blocks."""
        return _target.monitor(self, server)

    def demonitor(self, reference: int, flush: bool = False) -> None:
        """Takes a monitor back; see `kvreg.Server.demonitor`. Never blocks."""
        _target.demonitor(self, reference, flush)

    def link(self, server: Any) -> None:
        """Links it to another; see `kvreg.Server.link`. Never blocks."""
        _target.link(self, server)

    def unlink(self, server: Any) -> None:
        """Takes a link away. Never blocks."""
        _target.unlink(self, server)

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends it at once; see `kvreg.Server.exit`. Never waits for a turn."""
        _target.exits(self, reason, detail)

    def info(self) -> ServerInfo:
        """What there is to know about it. Never blocks."""
        return _target.info(self)

    def stop(self) -> None:
        """Stops it, reason NORMAL; see `kvreg.Server.stop`. Waits for its turn."""
        kind = self._kind_of_server
        if kind is None or kind.hands_over:
            self._stop_by_message()
            return
        slot = _turns.new_slot()
        turn, turn_at, waiting, waiting_at = slot
        status = self._begin(self._at, NOW, waiting_at, turn_at)
        if status or waiting or self._cell is None:
            _turns.enter(self, status, slot)
        self._check(self._end(turn, _abi.STOP, None, 0))
        _turns.has_stopped(self)

    _has_raised = _turns.has_raised
    _goes_on = _turns.goes_on
    _puts_off = _turns.puts_off
    _awaits = _turns.await_answer

    def _stop_by_message(self) -> None:
        from . import _serving

        if self._spec_or_none is not None and _serving.is_served_here(self._spec_or_none):
            raise CallingSelf(f"{self._called!r} is stopped by the thread that makes this call")
        follow()
        timeout = self._timeout
        end = None if timeout is None else time.monotonic() + timeout
        with OwnInbox() as inbox:
            reference = ctypes.c_uint64()
            inbox._call("kvreg_inbox_monitor_server", self._handle, ctypes.byref(reference))
            status = self._wait(self._library.kvreg_server_stop)
            if status != Status.OUTCOME_UNKNOWN:
                self._check(status)
                return
            # Of one slice of the wait: it has begun to end.
            event = _abi.Event()
            left = None if end is None else max(0.0, end - time.monotonic())
            if inbox.next_event(event, left):
                self._check(status)
            reason = event.reason
            self._library.quick.kvreg_event_clear(event)
            if reason != Reason.NORMAL:
                raise ServerDown(f"{self._called!r} ended otherwise: {Reason(reason).name}")


def replied(library: Library, event: _abi.Event) -> Answered:
    """What a REPLY says; it is released."""
    reply = _abi.Value()
    library.quick.kvreg_value_clone(event.value, reply)
    status, said = event.status, event.detail.decoded()
    library.quick.kvreg_event_clear(event)
    return status, reply, said


def is_inside(library: Library) -> bool:
    """Whether this thread has a turn: then who waits for whom is to be seen."""
    server = ctypes.c_void_p()
    if library.quick.kvreg_server_self(ctypes.byref(server)):
        return False
    library.quick.kvreg_server_free(server)
    return True


def of_parcel(remote: Any, parcel: Parcel, answered: Answered) -> Any:
    """What a call of Python's to Python by a message gave."""
    status = answered[0]
    if not status:
        return parcel.result
    raised = parcel.error
    if raised is not None and status == Status.ABORTED:
        raise raised
    if raised is not None and status == Status.SERVER_DOWN:
        text = f"{remote._called!r} crashed: {last_line(raised)}"
        raise ServerDown(text) from raised
    raise remote._refusal(status, answered[2])


def by_message(remote: Remote, tag: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """See `Remote._by_message`."""
    return remote._by_message(tag, args, kwargs)


def by_cast(remote: Remote, tag: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """See `Remote._cast`."""
    remote._cast(tag, args, kwargs)


NAMES: dict[str, Any] = {
    "_kvreg_pop": _turns.slots.pop,
    "_kvreg_push": _turns.slots.append,
    "_kvreg_new": _turns.new_slot,
    "_kvreg_enter": _turns.enter,
    "_kvreg_has_gone": _turns.has_gone,
    "_kvreg_failed": _turns.failed,
    "_kvreg_put_off": _turns.put_off,
    "_kvreg_await": _turns.await_answer,
    "_kvreg_pack": _turns.pack,
    "_kvreg_message": by_message,
    "_kvreg_cast": by_cast,
}

if native is not None:
    NAMES["_kvreg_turn"] = native.turn
    know(later=Later, remote=Remote)


def remote_class(kind: Kind) -> type[Remote]:
    """The class of the handles of a class of servers."""
    found: type[Remote] = kind.handles(Remote, _turns.METHODS, NAMES)
    return found


def found(
    library: Library,
    handle: ctypes.c_void_p,
    name: str | None,
    codec: Codec | None,
    keeper: object,
) -> Remote:
    """An object for the handle of a server, of its class if that is one of this process."""
    stats = _abi.ServerStats()
    spec = None
    if not library.quick.kvreg_server_info(handle, stats) and (
        stats.owner == _table.table.owner
    ):
        spec = _table.table.specs.get(stats.key)
    kind = Remote if spec is None else remote_class(spec.kind)
    remote = kind._of(library, handle.value)
    remote._adopt(spec, codec, keeper)
    remote._called = name
    return remote
