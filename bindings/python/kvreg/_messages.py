"""Messages that wait before a turn: each handled as the class of the server says, and answered.

A handler is code of the user's, and may raise anything. What it raises becomes an answer and a
verdict; what ends a thread, as KeyboardInterrupt does, comes out once the message is answered.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import _abi
from ._arguments import arguments, peek, reply_value, text_value
from ._constants import Reason
from ._errors import error
from ._inbox import Down
from ._later import Answer, Later, Refused, Stop
from ._library import Library
from ._table import Cell, Parcel, Spec
from ._tracebacks import text_of, traceback_of

if TYPE_CHECKING:
    from ._codecs import Codec

Step = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A handler, and what it is called with."""

Said = tuple[int, Optional[_abi.Value]]
"""A verdict, and the answer or the text that goes with it."""

Steps = Generator[Step, Any, Said]
"""One message on its way: who drives it calls the handler, and may wait for it."""


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
