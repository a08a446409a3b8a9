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
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from . import _abi, _table
from ._constants import Status
from ._errors import CallTimeout, OutcomeUnknown, ServerDown, error
from ._later import Answer, Later, Stop
from ._library import Library
from ._messages import drain
from ._table import Cell, Spec
from ._tracebacks import last_line, traceback_of

if TYPE_CHECKING:
    from ._remote import Remote

NOW = _abi.BEGIN_NOW

Slot = tuple[ctypes.c_void_p, Any, ctypes.c_uint64, Any]
"""A handle of a turn and a reference to it, how much waits and a reference to that."""

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
