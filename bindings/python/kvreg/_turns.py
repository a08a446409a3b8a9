"""Turns of servers whose code is Python's: begun, what waits handled, and ended.

A call of Python's runs on the thread that makes it. It begins a turn without waiting, and keeps
the interpreter's lock as it does so: if somebody has the turn it is told so at once. Only then
it waits, without the lock. The end never waits, and keeps the lock too. So a turn is never held
by who waits for the lock to begin with, and nobody waits for a turn with the lock.

Who begins handles what came before him, each message as the class says, and answers it. A
handler is code of the user's, and may raise anything, at any point: the turn is given back
whatever happens, by CRASH if nobody said more. A handle of a turn has a number that is never
used again, so to end one twice does no harm.

Whose turn it is: a handle is that of one process, and its cell is found by the first message
that its turn takes out, for each says by which handle its server is known. Where none waits,
the turn sends itself one.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Generator
from types import CodeType
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

from . import _abi, _table
from ._constants import Reason, Status
from ._errors import CallTimeout, OutcomeUnknown, ServerDown, error
from ._inbox import Down
from ._later import Answer, Later, Refused, Stop
from ._library import Library
from ._table import Cell, Parcel, Spec
from ._values import borrowed, decoded, encoded, fill

if TYPE_CHECKING:
    from ._codecs import Codec
    from ._remote import Remote

NOW = _abi.BEGIN_NOW

_DETAIL = 60000
"""Bytes of a traceback that are told with an end; the library takes 65,536."""

Slot = tuple[ctypes.c_void_p, Any, ctypes.c_uint64, Any]
"""A handle of a turn and a reference to it, how much waits and a reference to that."""

Step = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A handler, and what it is called with."""

Said = tuple[int, Optional[_abi.Value]]
"""A verdict, and the answer or the text that goes with it."""

Steps = Generator[Step, Any, Said]
"""One message on its way: who drives it calls the handler, and may wait for it."""

slots: list[Slot] = []
"""Those that nobody uses, as `_hot.slots`."""


def new_slot() -> Slot:
    """One more, where there is none to pop."""
    turn, waiting = ctypes.c_void_p(), ctypes.c_uint64()
    return turn, ctypes.byref(turn), waiting, ctypes.byref(waiting)


# The short way of a call, compiled with the parameters of each method. `_begin` and `_end` are
# of the handle, `_at` is what it is called by. What is rare is a function of its own, below.
METHODS = """
# CALL
def @name@(@parameters@):
    try:
        _kvreg_slot = _kvreg_pop()
    except IndexError:
        _kvreg_slot = _kvreg_new()
    _kvreg_turn, _kvreg_turn_at, _kvreg_waiting, _kvreg_waiting_at = _kvreg_slot
    try:
        _kvreg_status = @me@._begin(@me@._at, 1, _kvreg_waiting_at, _kvreg_turn_at)
        _kvreg_cell = @me@._cell
        if _kvreg_status or _kvreg_waiting or _kvreg_cell is None:
            _kvreg_cell = _kvreg_enter(@me@, _kvreg_status, _kvreg_slot)
        _kvreg_object = _kvreg_cell.object
        if _kvreg_object is None:
            _kvreg_has_gone(@me@, _kvreg_turn)
        _kvreg_result = _kvreg_function(_kvreg_object, @given@)
        if type(_kvreg_result) is _kvreg_later:
            _kvreg_result = _kvreg_put_off(@me@, _kvreg_turn, _kvreg_result)
            _kvreg_slot = None
        else:
            _kvreg_status = @me@._end(_kvreg_turn, 0, None, 0)
    except BaseException as _kvreg_error:
        return _kvreg_failed(@me@, _kvreg_turn, _kvreg_error)
    if _kvreg_slot is None:
        return _kvreg_await(@me@, _kvreg_result)
    _kvreg_push(_kvreg_slot)
    if _kvreg_status:
        @me@._check(_kvreg_status)
    return _kvreg_result
# TURN
def @name@(@parameters@):
    return _kvreg_turn(@me@, _kvreg_function, _kvreg_pure, @given@)
# MESSAGE
def @name@(@parameters@):
    return _kvreg_message(@me@, "@name@", *_kvreg_pack(@given@))
# CAST
def @name@(@parameters@):
    _kvreg_cast(@me@, "@name@", *_kvreg_pack(@given@))
"""


def pack(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as they came."""
    return args, kwargs


# Entering


def try_enter(remote: Remote, status: int, slot: Slot) -> Cell | None:
    """As `enter`, for who must not wait: None if somebody has the turn."""
    return None if status == Status.TIMEOUT else enter(remote, status, slot)


def enter(remote: Remote, status: int, slot: Slot) -> Cell:
    """Begins a turn that could not begin at once, and handles what came before it.

    If it raises the turn was given back, and is none. What was taken out and not answered by
    then is kept, but for a call: the server crashes.
    """
    turn = slot[0]
    try:
        return _enter(remote, status, slot)
    except BaseException:
        if turn:
            remote._end(turn, _abi.ABORT, None, 0)
            turn.value = None
        raise


def _enter(remote: Remote, status: int, slot: Slot) -> Cell:
    turn, turn_at, waiting, waiting_at = slot
    library, timeout = remote._library, remote._timeout
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        if status == Status.TIMEOUT and timeout != 0:
            status = remote._wait(library.kvreg_server_begin, 0, waiting_at, turn_at)
        remote._check(status)
        if not waiting and remote._cell is None:
            remote._check(_tell_itself(library, remote._at, waiting))
        status = _settle(remote, turn) if waiting else Status.NOT_FOUND
        if status == Status.NOT_FOUND:
            cell = remote._cell
            if cell is None:
                raise ServerDown(f"{remote._called!r} ended meanwhile")
            return cell
        code = remote._end(turn, _abi.ABORT, None, 0)
        if status != Status.TIMEOUT:
            remote._check(code)
            remote._check(status)
        if end is not None and time.monotonic() >= end:
            raise CallTimeout(f"{remote._called!r}: the time was over before the call's turn")


def _settle(remote: Remote, turn: ctypes.c_void_p) -> int:
    """Handles what waits; why it ended."""
    spec = remote._spec
    status, cell = drain(spec, turn, remote._cell)
    remote._cell = cell
    return status


def _tell_itself(library: Library, at: Any, waiting: ctypes.c_uint64) -> int:
    """Has the turn's server sent a message that says whose turn it is."""
    tag = _table.table.marker
    waiting.value = 1
    status: int = library.quick.kvreg_server_send(at, _abi.SEND_NEXT, tag, len(tag), None, 0)
    return status


def begin_first(spec: Spec, server: ctypes.c_void_p, turn: ctypes.c_void_p) -> Cell:
    """The cell of a server that was just started, whose first turn this is."""
    library = spec.library
    status = _tell_itself(library, server, ctypes.c_uint64())
    if status:
        raise error(library, status, spec.name)
    message = _abi.Message()
    status = library.quick.kvreg_turn_next(turn, message)
    if status:
        raise error(library, status, spec.name)
    me = message.self
    library.hot.message_clear(ctypes.byref(message))
    if me is None:
        raise error(library, Status.NO_MEMORY, spec.name)
    return Cell(spec, me)


# Leaving


def has_gone(remote: Remote, turn: ctypes.c_void_p) -> NoReturn:
    """The server was ended when its turn had begun, and its object is gone."""
    remote._end(turn, _abi.KEEP, None, 0)
    turn.value = None
    raise ServerDown(f"{remote._called!r} ended meanwhile")


def failed(remote: Remote, turn: ctypes.c_void_p, raised: BaseException) -> Any:
    """What the caller gets when something was raised between begin and end of a call."""
    if not turn:  # it did not begin, or was ended
        raise raised
    spec = remote._spec
    if isinstance(raised, Stop):
        status = remote._end(turn, _abi.STOP, None, 0)
        remote._check(status)
        has_stopped(remote)
        return raised.result
    if isinstance(raised, spec.kind.answers):
        remote._check(remote._end(turn, _abi.KEEP, None, 0))
        raise raised
    detail = traceback_of(raised)
    status = remote._end(turn, _abi.CRASH, detail, len(detail))
    if status == Status.BAD_HANDLE:
        raise raised  # of an interrupt before the begin, or after the end
    if status == Status.FORKED:
        remote._check(status)
    if spec.kind.on_terminate is not None:
        has_terminated(remote)
    if isinstance(raised, Exception):
        raise ServerDown(f"{remote._called!r} crashed: {last_line(raised)}") from raised
    raise raised


def has_terminated(remote: Remote) -> None:
    """Returns when a server that ends has been told so, if it wants that, and has ended."""
    if remote._spec.kind.on_terminate is None:
        return
    turn, turn_at, _, waiting_at = new_slot()
    status = remote._begin(remote._at, NOW, waiting_at, turn_at)
    if status == Status.TIMEOUT and remote._timeout != 0:
        status = remote._wait(remote._library.kvreg_server_begin, 0, waiting_at, turn_at)
    if status:
        return  # somebody else has told it, or does so now
    _settle(remote, turn)
    remote._end(turn, _abi.KEEP, None, 0)


def has_stopped(remote: Remote) -> None:
    """The same of one that is to end with reason NORMAL: `ServerDown` if it did otherwise."""
    has_terminated(remote)
    failure = None if remote._cell is None else remote._cell.failure
    if failure is not None:
        text = f"{remote._called!r} crashed as it ended: {last_line(failure)}"
        raise ServerDown(text) from failure


def has_raised(remote: Remote, number: int, raised: BaseException) -> Any:
    """The same of the extension's turn."""
    try:
        raise raised  # so that it is what is handled
    except BaseException as error:
        return failed(remote, ctypes.c_void_p(number), error)


def goes_on(
    remote: Remote, number: int, waiting: int, function: Callable[..., Any]
) -> Callable[..., Any]:
    """The rest of a call whose turn the extension has begun, where messages came before it."""
    return functools.partial(_go_on, remote, number, waiting, function)


def _go_on(
    remote: Remote,
    number: int,
    waiting: int,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    slot = new_slot()
    turn = slot[0]
    turn.value, slot[2].value = number, waiting
    try:
        owner = enter(remote, Status.OK, slot).object
        if owner is None:
            has_gone(remote, turn)
        result = function(owner, *args, **kwargs)
        if not isinstance(result, Later):
            status = remote._end(turn, _abi.KEEP, None, 0)
            turn.value = None
            remote._check(status)
            return result
        answer = put_off(remote, turn, result)  # pyright: ignore[reportUnknownArgumentType]
        del result  # or it would wait for what nobody can answer any more
    except BaseException as raised:
        return failed(remote, turn, raised)
    return await_answer(remote, answer)


def puts_off(remote: Remote, number: int, later: Later[Any]) -> Any:
    """As `put_off`, of the extension's turn."""
    turn = ctypes.c_void_p(number)
    try:
        return put_off(remote, turn, later)
    except BaseException as raised:
        return failed(remote, turn, raised)


def put_off(remote: Remote, turn: ctypes.c_void_p, later: Later[Any]) -> Answer:
    """Ends the turn of a call whose answer comes later."""
    answer, cell = later._answer, remote._cell
    if cell is not None:
        cell.answers.add(answer)  # whose end ends it
    status = remote._end(turn, _abi.KEEP, None, 0)
    turn.value = None
    remote._check(status)
    if cell is not None and cell.parcels is None:
        answer.end(ServerDown(f"{remote._called!r} ended meanwhile"))
    return answer


def await_answer(remote: Remote, answer: Answer) -> Any:
    """Waits for an answer that was put off."""
    came = threading.Lock()
    came.acquire()

    def told(_answer: Answer) -> bool:
        came.release()
        return True

    try:
        answer.then(told)
        wait_for(remote, came)
    except BaseException:
        answer.is_left()
        raise
    finally:
        if remote._cell is not None:
            remote._cell.answers.discard(answer)
    return answer.result()


def wait_for(remote: Remote, came: Any) -> None:
    """Waits for a lock, for as long as the handle does. `OutcomeUnknown` when that is over."""
    from . import _serving

    timeout = remote._timeout
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0.0, end - time.monotonic())
        if _serving.wait_for(came, left):
            return
        if left == 0:
            raise unknown(remote)


def unknown(remote: Remote) -> OutcomeUnknown:
    """Of who has waited too long for an answer that was put off."""
    return OutcomeUnknown(f"{remote._called!r} had begun when the time was over")


# Messages


def drain(spec: Spec, turn: ctypes.c_void_p, cell: Cell | None) -> tuple[int, Cell | None]:
    """Handles what came before a turn. Gives why there is no more, and whose turn it is.

    What ends a thread, as KeyboardInterrupt does, ends the server first, and comes out then.
    """
    hot, message = spec.library.hot, _abi.Message()
    at = ctypes.byref(message)
    while True:
        status = hot.turn_next(turn, at)
        if status:
            return status, cell
        handled = Handled(spec, cell, message)
        try:
            said = _run(handled.steps())
        finally:
            hot.message_clear(at)
        cell = handled.answer(turn, said)


def _run(steps: Steps) -> Said:
    """What a message gives, whose handler is called here."""
    try:
        function, args, kwargs = next(steps)
        while True:
            try:
                result = function(*args, **kwargs)
            except BaseException as raised:
                function, args, kwargs = steps.throw(raised)
            else:
                function, args, kwargs = steps.send(result)
    except StopIteration as stop:
        said: Said = stop.value
        return said


class Handled:
    """One message, and what became of it."""

    def __init__(self, spec: Spec, cell: Cell | None, message: _abi.Message) -> None:
        self.spec, self.message = spec, message
        self.cell = spec.table.cells.get(message.self or 0) if cell is None else cell
        self.raised: BaseException | None = None
        self.after: Callable[[], None] | None = None
        """What is to be done once it is answered."""
        self.parcel: Parcel | None = None

    def answer(self, turn: ctypes.c_void_p, said: Said) -> Cell | None:
        """Answers the message; whose turn it is."""
        verdict, value = said
        at = None if value is None else ctypes.byref(value)
        self.spec.library.hot.turn_answer(turn, verdict, at)
        if self.after is not None:
            self.after()
        if self.raised is not None and not isinstance(self.raised, Exception):
            raise self.raised
        return self.cell

    def steps(self) -> Steps:
        """Gives the handler and its arguments, takes its result, and says what to answer."""
        try:
            found = self._handler()
            if isinstance(found, int):
                return found, None
            if isinstance(found, _abi.Value):
                return _abi.ABORT, found
            result = yield found
            return self._done(result)
        except BaseException as raised:
            return self._failed(raised)

    def _handler(self) -> int | _abi.Value | Step:
        """The handler; or a verdict, or why it is refused."""
        message, kind, codec = self.message, self.spec.kind, self.spec.codec
        what = message.type
        if what == _abi.MESSAGE_INIT:
            self.cell = began_again(self.spec, message.self)
            return _abi.KEEP
        tag = ctypes.string_at(message.tag.address or 0, message.tag.len)
        if what == _abi.MESSAGE_INFO and tag == self.spec.table.marker:
            return _abi.KEEP
        owner = None if self.cell is None else self.cell.object
        if owner is None:
            return _abi.UNHANDLED
        if what == _abi.MESSAGE_DOWN and kind.on_down is not None:
            detail = peek(message.values[0]) if message.count else ""
            name, reason = tag.decode() or None, Reason(message.reason)
            return kind.on_down, (owner, Down(message.reference, reason, name, detail)), {}
        if what == _abi.MESSAGE_TERMINATE and kind.on_terminate is not None:
            return kind.on_terminate, (owner, Reason(message.reason)), {}
        self.parcel = self._parcel()
        parcel = self.parcel
        args = arguments(message, codec) if parcel is None else parcel.args
        if what == _abi.MESSAGE_INFO and kind.on_info is not None:
            return kind.on_info, (owner, tag.decode(), *args), {}
        method = kind.methods.get(tag.decode())
        is_call = {_abi.MESSAGE_CALL: True, _abi.MESSAGE_CAST: False}.get(what)
        if method is None or method.is_call is not is_call:
            return _abi.UNHANDLED
        if parcel is not None:
            return method.function, (owner, *args), parcel.kwargs
        try:
            method.fits(owner, *args)
        except TypeError as misfit:
            return text_value(str(misfit))
        return method.function, (owner, *args), {}

    def _done(self, result: Any) -> Said:
        """What a handler returned is answered, if anybody asked."""
        parcel = self.parcel
        if self.message.type != _abi.MESSAGE_CALL:
            return _abi.KEEP, None
        if type(result) is Later:
            return self._later(result._answer)
        if parcel is not None:
            parcel.result = result
            return _abi.KEEP, None
        return reply_value(result, self.spec.codec)

    def _later(self, answer: Answer) -> Said:
        library, codec, parcel = self.spec.library, self.spec.codec, self.parcel
        reply = ctypes.c_void_p()
        status = library.quick.kvreg_message_defer(self.message, ctypes.byref(reply))
        if status:
            raise error(library, status, self.spec.name)

        def told(answer: Answer) -> bool:
            return send_reply(library, codec, reply, parcel, answer)

        self.after = functools.partial(answer.then, told)
        return _abi.LATER, None

    def _failed(self, raised: BaseException) -> Said:
        if isinstance(raised, Stop):
            return _abi.STOP, self._done(raised.result)[1]
        self.raised = raised
        if self.message.type == _abi.MESSAGE_TERMINATE and self.cell is not None:
            self.cell.failure = raised
        if self.parcel is not None:
            self.parcel.error = raised
        if isinstance(raised, self.spec.kind.answers):
            return _abi.ABORT, text_value(text_of(raised))
        return _abi.CRASH, text_value(traceback_of(raised))

    def _parcel(self) -> Parcel | None:
        """What Python sent, if it was Python."""
        message = self.message
        if message.count != 1 or self.cell is None:
            return None
        value = message.values[0]
        if value.type != _abi.BYTES or value.len != 24:
            return None
        data = ctypes.string_at(value.address or 0, 24)
        if data[:16] != self.spec.table.cookie:
            return None
        number = int.from_bytes(data[16:], "little")
        parcel = self.spec.table.asked.get(number) or self.spec.take(number)
        if parcel is None:
            raise Refused("the arguments are gone: it was sent to another process")
        return parcel


def began_again(spec: Spec, me: int | None) -> Cell:
    """Makes the object of a server that was started again."""
    if me is None:
        raise MemoryError("no handle for a server that was started again")
    cell = Cell(spec, me)
    make(spec, cell)
    return cell


def make(spec: Spec, cell: Cell) -> None:
    """Makes the object, by its class."""
    server = spec.kind.server
    made = server.__new__(server, *spec.args, **spec.kwargs)
    made._kvreg_cell = cell
    made.__init__(*spec.args, **spec.kwargs)
    cell.object = made


def send_reply(
    library: Library,
    codec: Codec | None,
    reply: ctypes.c_void_p,
    parcel: Parcel | None,
    answer: Answer,
) -> bool:
    """Sends an answer that was put off; whether anybody waited."""
    verdict, said = _abi.KEEP, None
    if answer.error is not None:
        verdict, said = _abi.ABORT, text_value(text_of(answer.error))
        if parcel is not None:
            parcel.error = answer.error
    elif parcel is not None:
        parcel.result = answer.value
    else:
        verdict, said = reply_value(answer.value, codec)
    at = None if said is None else ctypes.byref(said)
    status: int = library.quick.kvreg_reply_send(reply, verdict, at)
    return not status


# Values


def peek(value: _abi.Value) -> Any:
    """The Python value of a struct that stays as it is."""
    kind = value.type
    if kind == _abi.INT:
        return value.integer
    if kind in (_abi.STRING, _abi.BYTES):
        data = ctypes.string_at(value.address or 0, value.len)
        return data.decode("utf-8") if kind == _abi.STRING else data
    if kind == _abi.FLOAT:
        return value.real
    if kind == _abi.BOOL:
        return value.boolean
    return None


def arguments(message: _abi.Message, codec: Codec | None) -> tuple[Any, ...]:
    """What another language sent, by the codec if there is one."""
    values = (peek(message.values[number]) for number in range(message.count))
    if codec is None:
        return tuple(values)
    return tuple(decoded(codec, it) if isinstance(it, bytes) else it for it in values)


_MOST = 255
"""Values that a message has at most."""

_arrays: dict[int, Any] = {}
"""Types of so many values: ctypes forgets one with its last array, and is slow to make it."""


def values_of(args: tuple[Any, ...], codec: Codec | None) -> Any:
    """Arguments for another language, or None if there are none."""
    if not args:
        return None
    count = len(args)
    array = _arrays.get(count)
    if array is None:
        array = _abi.Value * count
        if count <= _MOST:
            _arrays[count] = array
    values = array()
    for value, arg in zip(values, args):
        fill(value, encoded(codec, arg))
    return values


def reply_value(result: Any, codec: Codec | None) -> tuple[int, _abi.Value | None]:
    """A result for another language. One that is no value is refused, and the server lives."""
    if result is None and codec is None:
        return _abi.KEEP, None
    try:
        return _abi.KEEP, borrowed(encoded(codec, result))
    except Exception as misfit:
        return _abi.ABORT, text_value(f"the result is no value: {text_of(misfit)}")


def text_value(text: str | bytes) -> _abi.Value:
    """A text for a verdict."""
    value = _abi.Value(type=_abi.STRING)
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    value.data, value.len = data, len(data)
    return value


def text_of(raised: BaseException) -> str:
    """What an exception says, if it can."""
    try:
        return str(raised)
    except Exception:
        return type(raised).__name__


def last_line(raised: BaseException) -> str:
    """An exception as the last line of its traceback shows it."""
    text = text_of(raised)
    name = type(raised).__qualname__
    return f"{name}: {text}" if text else name


_PACKAGE = os.path.join(os.path.dirname(__file__), "")


def is_ours(code: CodeType) -> bool:
    """Whether it is of this package, or of the methods that it makes."""
    return code.co_filename.startswith((_PACKAGE, "<kvreg "))


def traceback_of(raised: BaseException) -> bytes:
    """The traceback of an exception, without the frame that caught it."""
    import traceback  # not before something fails

    frames = raised.__traceback__
    if frames is not None and frames.tb_next is not None and is_ours(frames.tb_frame.f_code):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(raised), raised, frames)
        data = "".join(lines).encode("utf-8", "backslashreplace")
    except Exception:
        data = last_line(raised).encode("utf-8", "backslashreplace")
    data = data.replace(b"\0", b"\\0")
    if len(data) > _DETAIL:
        data = b"...\n" + data[-_DETAIL:].decode("utf-8", "ignore").encode()
    return data
