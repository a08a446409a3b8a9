"""pykka's actors, with kvreg's servers under them instead of threads.

pykka says what an actor is, and leaves to a runtime how messages are kept and who handles them.
Here each actor is the state of a server of kvreg's, under its URN in a registry. `tell` is a
cast. `ask` is a call, and where it gives a future it is a cast that the future waits for: by a
call behind it, which returns when what came before was handled, or says that the server has
gone.

`TurnsActor` is called by turns, so on the thread that asks; `HandingActor` hands over.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import kvreg
import pykka

_log = logging.getLogger("pykka")
_registry = kvreg.Registry()

# kvreg's own words for an end. The tests count what pykka says.
logging.getLogger("kvreg").propagate = False


class Host(kvreg.Server, restart=kvreg.Restart.TEMPORARY):
    """The server that has an actor as its state."""

    answers = (Exception,)  # an actor outlives what it answers by an exception

    def __init__(self, actor: Any) -> None:
        """Has the actor begin before it gets anything else."""
        self.actor = actor
        self.send_next("begin")

    def on_info(self, tag: str, *values: Any) -> None:
        """Begins."""
        self.actor._actor_loop_setup()
        self._leave()

    @kvreg.call
    def ask(self, message: Any) -> Any:
        """Handles a message whose sender waits."""
        answer = None
        try:
            answer = self.actor._handle_receive(message)
        except Exception:
            self._says_that_it_raised()
            raise
        except BaseException as raised:
            self._ends_all(raised)
        self._leave(answer)
        return answer

    @kvreg.cast
    def tell(self, envelope: Any) -> None:
        """Handles a message whose sender has a future, or nothing."""
        actor, future = self.actor, envelope.reply_to
        try:
            answer = actor._handle_receive(envelope.message)
            if future is not None:
                future.set(answer)
        except Exception:
            if future is not None:
                self._says_that_it_raised()
                future.set_exception()
            else:
                self._fails()
        except BaseException as raised:
            self._ends_all(raised)
        self._leave()

    @kvreg.call
    def settle(self) -> None:
        """Comes when all that was sent before was handled."""

    def _leave(self, answer: Any = None) -> None:
        """Ends the server with its actor."""
        if self.actor.actor_stopped.is_set():
            raise kvreg.Stop(answer)

    def _says_that_it_raised(self) -> None:
        _log.info(f"Exception returned from {self.actor} to caller:", exc_info=True)

    def _fails(self) -> None:
        """Nobody would hear of it: it is the actor's end."""
        actor = self.actor
        actor._handle_failure(*sys.exc_info())
        try:
            actor.on_failure(*sys.exc_info())
        except Exception:
            actor._handle_failure(*sys.exc_info())

    def _ends_all(self, raised: BaseException) -> None:
        _log.debug(f"{raised!r} in {self.actor}. Stopping all actors.")
        self.actor._stop()
        pykka.ActorRegistry.stop_all()


class HandingHost(Host, restart=kvreg.Restart.TEMPORARY, hand_over=True):
    """The same on the serving thread."""


class Inbox:
    """Where pykka puts what is sent: the server."""

    server: Any = None

    def put(self, envelope: Any) -> None:
        """Sends."""
        future = envelope.reply_to
        if future is not None:
            future.inbox = self
        try:
            self.server.tell(envelope)
        except kvreg.NoProcess:
            if future is None:
                raise pykka.ActorDeadError("the actor has ended") from None
            future.ended()

    def call(self, method: str, timeout: float | None, *args: Any) -> Any:
        """Calls, and says what went wrong as pykka does."""
        with self.server.clone() as server:
            server.timeout = timeout
            try:
                return getattr(server, method)(*args)
            except (kvreg.CallTimeout, kvreg.OutcomeUnknown):
                raise pykka.Timeout(f"{timeout} seconds") from None
            except (kvreg.NoProcess, kvreg.ServerDown):
                raise pykka.ActorDeadError("the actor ended before it answered") from None

    def get(self) -> Any:
        """Not of pykka's loop, which is not run."""
        raise NotImplementedError

    empty = get


class Future(pykka.ThreadingFuture):  # type: ignore[misc]
    """Keeps an answer, as pykka's does; kvreg tells when it is there."""

    inbox: Inbox | None = None

    def get(self, *, timeout: float | None = None) -> Any:
        """The answer, once it is there."""
        if self.inbox is not None:
            try:
                return super().get(timeout=0)
            except pykka.Timeout:
                pass
            try:
                self.inbox.call("settle", timeout)
            except pykka.ActorDeadError:
                self.ended()
        return super().get(timeout=timeout)

    def ended(self) -> None:
        """Nobody will answer any more, if nobody has."""
        try:
            super().get(timeout=0)
        except pykka.Timeout:
            dead = pykka.ActorDeadError("the actor ended before it handled the message")
            self.set_exception((type(dead), dead, None))
        except BaseException:
            return  # the answer


class Ref(pykka.ActorRef):  # type: ignore[misc]
    """Whose `ask` is a call."""

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Asks as pykka does where it gives a future."""
        if not block or not self.is_alive():
            return super().ask(message, block=block, timeout=timeout)
        return self.actor_inbox.call("ask", timeout, message)


class TurnsActor(pykka.Actor):  # type: ignore[misc]
    """An actor whose messages are handled by turns."""

    host: type[Host] = Host

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Makes what pykka has, and a reference that calls."""
        super().__init__(*args, **kwargs)
        self._actor_ref = Ref(self)

    _create_actor_inbox = staticmethod(Inbox)
    _create_future = staticmethod(Future)

    def _start_actor_loop(self) -> None:
        self.actor_inbox.server = self.host.start(_registry, self.actor_urn, self)


class HandingActor(TurnsActor):
    """An actor whose messages are all handled by the serving thread."""

    host = HandingHost
