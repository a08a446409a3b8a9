"""What a loop does for servers: it handles the mail of its own, and hears of answers.

Each loop has an inbox, whose descriptor it watches; once the loop is closed, whoever starts a
server hears of the ends that came there. The mail of a server without handlers of
`async def` is handled at once. One with such handlers has a task while there is mail: the turn
is then the task's and no thread's, and is kept while a handler waits, so that one message at a
time is handled. The library does not see who waits for whom there. So a handler that awaits its
own server, through others or not, is refused here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import threading
from typing import Any, Callable, TypeVar
from weakref import WeakKeyDictionary, ref

from .. import _abi, _messages, _remote, _serving, _table, _turns
from .._errors import CallingSelf, Unsupported, check
from .._logging import follow
from .._ready import Ready
from .._remote import Answered
from .._table import Cell, OwnInbox, Spec, down_of
from ._inbox import _Thread
from ._workers import submit

_Result = TypeVar("_Result")

_AT_ONCE = 256
"""Events after which the loop may do something else."""


class Serving:
    """That of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watches from here on."""
        self.inbox = OwnInbox()
        self.monitors: dict[int, Any] = {}
        self.replies: dict[int, asyncio.Future[Answered]] = {}
        self.tasks: dict[asyncio.Task[Any], Spec] = {}
        self.waits: dict[Spec, Spec] = {}
        """Whose handler waits for an answer of which other."""
        self._loop = ref(loop)
        self._thread = threading.get_ident()
        _table.table.loops.append(self)
        self._waiter: _Thread | None = None
        try:
            loop.add_reader(self.inbox.fileno(), self._look)
        except (NotImplementedError, Unsupported):
            # The loop watches no descriptors, or the platform has none.
            self._waiter = _Thread(Ready(self.inbox), loop, self._look)
            self._waiter.start()

    def is_over(self) -> bool:
        """Whether the loop was closed."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def hear_ends(self) -> bool:
        """Hears of ends in place of a loop that is over; whether there will be no more."""
        event = _abi.Event()
        while not self.inbox.next_event(event, 0):
            if event.type == _abi.EVENT_DOWN:
                _serving.handle(self, event)
            else:
                self.inbox._library.quick.kvreg_event_clear(event)
        return not self.monitors

    def is_here(self) -> bool:
        """Whether this thread runs the loop."""
        return threading.get_ident() == self._thread and not self.is_over()

    def _look(self) -> None:
        event = _abi.Event()
        self._thread = threading.get_ident()
        for _ in range(_AT_ONCE):
            if self.inbox.next_event(event, 0):
                return
            self._handle(event)
        loop = self._loop()
        if loop is not None and self._waiter is not None:
            loop.call_soon(self._look)

    def _handle(self, event: _abi.Event) -> None:
        quick, what, reference = self.inbox._library.quick, event.type, event.reference
        if what == _abi.EVENT_REPLY:
            answered = _remote.replied(self.inbox._library, event)
            future = self.replies.pop(reference, None)
            if future is not None and not future.done():
                future.set_result(answered)
            else:
                quick.kvreg_value_clear(answered[1])
            return
        try:
            down = down_of(event) if what == _abi.EVENT_DOWN else None
        finally:
            quick.kvreg_event_clear(event)
        if down is not None:
            home = self.monitors.pop(reference, None)
            if home is not None:
                home.home(down)
            return
        spec = _table.table.specs.get(reference)
        loop = self._loop()
        if spec is None or loop is None:
            return
        if not spec.kind.is_async:
            _serving.serve_spec(spec)
            return
        task = loop.create_task(self._serve(spec))
        self.tasks[task] = spec
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        spec = self.tasks.pop(task)
        self.waits.pop(spec, None)
        if not task.cancelled():
            raised = task.exception()
            if raised is not None and not isinstance(raised, Exception):
                raise raised

    async def _serve(self, spec: Spec) -> None:
        cell = spec.current
        if cell is not None:
            await self._serve_process(spec, cell.at, cell)
        again = _serving.found_again(spec)  # as in `serve_spec`
        if again is not None:
            try:
                await self._serve_process(spec, again, None)
            finally:
                spec.library.quick.kvreg_server_free(again)

    async def _serve_process(self, spec: Spec, at: ctypes.c_void_p, cell: Cell | None) -> None:
        turn, turn_at, waiting, waiting_at = _turns.new_slot()
        hot = spec.library.hot
        if hot.server_begin(at, _turns.NOW, waiting_at, turn_at):
            return
        try:
            check(spec.library, spec.library.quick.kvreg_turn_detach(turn))
            if waiting:
                await _drain(spec, turn, cell)
        finally:
            hot.turn_end(turn, _abi.KEEP, None, 0)

    async def ask(self, remote: Any, tag: bytes, values: Any, count: int) -> Answered:
        """Calls as a message, and waits for the answer. Cancelled, it is withdrawn."""
        follow()
        quick, reference = remote._library.quick, ctypes.c_uint64()
        remote._check(
            quick.kvreg_server_request(
                *(remote._handle, tag, len(tag), values, count, self.inbox._handle),
                ctypes.byref(reference),
            )
        )
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self.replies[reference.value] = future
        spec = self.tasks.get(asyncio.current_task())  # type: ignore[arg-type]
        if spec is not None and remote._spec_or_none is not None:
            self.waits[spec] = remote._spec_or_none
        try:
            return await future
        except BaseException:
            quick.kvreg_inbox_abandon(self.inbox._handle, reference)
            raise
        finally:
            self.replies.pop(reference.value, None)
            if spec is not None:
                self.waits.pop(spec, None)

    def refuse_circle(self, remote: Any) -> None:
        """`CallingSelf` if the answer would wait for the handler that asks."""
        asking = self.tasks.get(asyncio.current_task())  # type: ignore[arg-type]
        asked = remote._spec_or_none
        while asking is not None and asked is not None:
            if asked is asking:
                raise CallingSelf(f"the answer of {remote._called!r} would wait for who asks")
            asked = self.waits.get(asked)


async def _drain(spec: Spec, turn: ctypes.c_void_p, cell: Cell | None) -> None:
    """As `_messages.drain`, where handlers may wait."""
    hot = spec.library.hot
    while True:
        message = _abi.Message()
        at = ctypes.byref(message)
        if hot.turn_next(turn, at):
            return
        handled = _messages.Handled(spec, cell, message)
        try:
            said = await _run(handled.steps())
        finally:
            hot.message_clear(at)
        cell = handled.answer(turn, said)


async def _run(steps: _messages.Steps) -> _messages.Said:
    try:
        function, args, kwargs = next(steps)
        while True:
            try:
                result = function(*args, **kwargs)
                if inspect.iscoroutine(result):
                    result = await result
            except BaseException as raised:
                function, args, kwargs = steps.throw(raised)
            else:
                function, args, kwargs = steps.send(result)
    except StopIteration as stop:
        said: _messages.Said = stop.value
        return said


async def elsewhere(work: Callable[[], _Result]) -> _Result:
    """What `work` gives, which a worker thread does, for it may wait for what this loop serves.

    A task that is cancelled leaves it alone.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[BaseException | None, Any]] = loop.create_future()

    def tell(answer: tuple[BaseException | None, Any]) -> None:
        if not done.done():
            done.set_result(answer)

    def run() -> None:
        answer: tuple[BaseException | None, Any]
        try:
            answer = None, work()
        except BaseException as raised:
            answer = raised, None
        with contextlib.suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(tell, answer)

    submit(run)
    raised, result = await done
    if raised is not None:
        raise raised
    found: _Result = result
    return found


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Serving] = WeakKeyDictionary()


def _begin_anew() -> None:
    # The loops of a forked child's parent are not the child's.
    global _of_loops
    _of_loops = WeakKeyDictionary()


_table.begin_anew(_begin_anew)


def serving() -> Serving:
    """That of the loop that runs in this thread."""
    loop = asyncio.get_running_loop()
    found = _of_loops.get(loop)
    if found is None:
        found = _of_loops[loop] = Serving(loop)
    return found
