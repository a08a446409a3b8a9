"""What a class of servers can do, and the methods of its handles, which are made of it.

The handle of a server has one method for each that its class marked by `@call` or `@cast`, with
the same parameters: so arguments that do not fit are the caller's TypeError, before the server
hears of anything, and nothing else of the object can be reached. They are compiled, as those of
a dataclass are, since what a general one does with `*args` costs as much as the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ._constants import Restart
from ._later import Later, Refused
from ._options import MOST_32, count, span

if TYPE_CHECKING:
    from inspect import Signature

MARK = "_kvreg_is_call"
"""The attribute of functions that says that they are handlers, and if of calls."""


class Method(NamedTuple):
    """A handler of a call or a cast."""

    name: str
    function: Callable[..., Any]
    is_call: bool
    is_async: bool
    fits: Callable[..., None]
    """Takes what it takes, and does nothing: a TypeError for anything else."""
    signature: Signature


class Options(NamedTuple):
    """Those of a class, as the library takes them."""

    restart: int
    max_restarts: int
    restart_period_ms: int
    shutdown_ms: int
    max_mailbox: int
    max_bytes: int
    max_value: int


class Kind:
    """What is known of a class of servers."""

    def __init__(
        self, server: type[Any], base: type[Any], options: Options, hands_over: bool
    ) -> None:
        self.server = server
        self.options = options
        marked = (_method(server, *found) for found in _marked(server, base))
        self.methods = {method.name: method for method in marked}
        self.on_info = _own(server, base, "on_info")
        self.on_down = _own(server, base, "on_down")
        self.on_terminate = _own(server, base, "on_terminate")
        others = (self.on_info, self.on_down, self.on_terminate)
        is_async = any(method.is_async for method in self.methods.values())
        self.is_async = is_async or any(map(_is_async, others))
        self.hands_over = hands_over or self.is_async
        answers: tuple[type[BaseException], ...] = tuple(getattr(server, "answers", ()))
        for answer in answers:
            if not (isinstance(answer, type) and issubclass(answer, Exception)):
                raise TypeError(f"answers of {server.__name__} has {answer!r}: no exception")
        self.answers: tuple[type[BaseException], ...] = (Refused, *answers)
        self._handles: dict[type[Any], type[Any]] = {}

    def handles(self, base: type[Any], template: str, names: dict[str, Any]) -> type[Any]:
        """The class of its handles of one sort, made when there is one first."""
        made = self._handles.get(base)
        if made is None:
            body: dict[str, Any] = {"__slots__": (), "_kind_of_server": self}
            body["__doc__"] = self.server.__doc__
            body["__module__"] = self.server.__module__
            for method in self.methods.values():
                body[method.name] = _handle_method(self, method, template, names)
            made = type(self.server.__name__, (base,), body)
            made.__qualname__ = self.server.__qualname__
            made = self._handles.setdefault(base, made)  # of two threads that come at once
        return made


def options(
    restart: Restart,
    max_restarts: int | None,
    restart_period: float | None,
    shutdown: float | None,
    max_mailbox: int | None,
    max_bytes: int | None,
    max_value: int | None,
) -> Options:
    """Options of a class, if they can be."""
    return Options(
        int(Restart(restart)),
        count("max_restarts", max_restarts, MOST_32),
        span("restart_period", restart_period, MOST_32),
        span("shutdown", shutdown, MOST_32),
        count("max_mailbox", max_mailbox),
        count("max_bytes", max_bytes),
        count("max_value", max_value),
    )


def _marked(server: type[Any], base: type[Any]) -> list[tuple[str, Callable[..., Any], bool]]:
    """The handlers of a class, and of those that it inherits from."""
    marks: dict[str, bool] = {}
    for owner in reversed(server.__mro__):
        for name, found in vars(owner).items():
            is_call = getattr(found, MARK, None)
            if is_call is not None:
                marks[name] = is_call
    for name in marks:
        if hasattr(base, name):
            raise TypeError(
                f"{server.__name__}.{name} has the name of what every server has:"
                " give it another"
            )
    return [(name, getattr(server, name), is_call) for name, is_call in marks.items()]


def _own(server: type[Any], base: type[Any], name: str) -> Callable[..., Any] | None:
    function: Callable[..., Any] = getattr(server, name)
    return None if function is getattr(base, name) else function


def _is_async(function: Callable[..., Any] | None) -> bool:
    if function is None:
        return False
    import inspect  # not before there is a class of servers

    return inspect.iscoroutinefunction(function)


def _method(
    server: type[Any], name: str, function: Callable[..., Any], is_call: bool
) -> Method:
    import inspect

    function = getattr(function, "_kvreg_function", function)
    signature = inspect.signature(function)
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind > first.POSITIONAL_OR_KEYWORD:
        raise TypeError(f"{server.__name__}.{name} has no parameter for the server itself")
    parameters, _, names = _parameters(signature)
    source = f"def {name}({parameters}): pass"
    fits = _compiled(source, name, f"<{server.__qualname__}.{name}>", names)
    return Method(name, function, is_call, _is_async(function), fits, signature)


def _parameters(signature: Signature) -> tuple[str, str, dict[str, Any]]:
    """The parameters as source, how they are handed on, and what their defaults are."""
    written: list[str] = []
    given: list[str] = []
    names: dict[str, Any] = {}
    before: Any = None
    for parameter in signature.parameters.values():
        kind, name = parameter.kind, parameter.name
        if before == parameter.POSITIONAL_ONLY != kind:
            written.append("/")
        if kind == parameter.KEYWORD_ONLY and before not in (kind, parameter.VAR_POSITIONAL):
            written.append("*")
        before = kind
        text = name
        if kind == parameter.VAR_POSITIONAL:
            text, handed = f"*{name}", f"*{name}"
        elif kind == parameter.VAR_KEYWORD:
            text, handed = f"**{name}", f"**{name}"
        elif kind == parameter.KEYWORD_ONLY:
            handed = f"{name}={name}"
        else:
            handed = name
        if parameter.default is not parameter.empty:
            names[f"_kvreg_default_{name}"] = parameter.default
            text = f"{name}=_kvreg_default_{name}"
        written.append(text)
        given.append(handed)
    if before == next(iter(signature.parameters.values())).POSITIONAL_ONLY:
        written.append("/")
    return ", ".join(written), ", ".join(given[1:]), names


def _compiled(source: str, name: str, where: str, names: dict[str, Any]) -> Callable[..., Any]:
    namespace = dict(names)
    exec(compile(source, where, "exec"), namespace)
    made: Callable[..., Any] = namespace[name]
    return made


def _handle_method(
    kind: Kind, method: Method, templates: str, names: dict[str, Any]
) -> Callable[..., Any]:
    """The method of a handle: the template has what stands for the method's own."""
    if not method.is_call:
        return _made(kind, method, "CAST", templates, names)
    if kind.hands_over:
        return _made(kind, method, "MESSAGE", templates, names)
    made = _made(kind, method, "CALL", templates, names)
    if "_kvreg_turn" in names and "# TURN\n" in templates:
        # The extension's short way, which knows the long one.
        names = {**names, "_kvreg_pure": made}
        made = _made(kind, method, "TURN", templates, names)
    return made


def _made(
    kind: Kind, method: Method, which: str, templates: str, names: dict[str, Any]
) -> Callable[..., Any]:
    parameters, given, defaults = _parameters(method.signature)
    me = next(iter(method.signature.parameters))
    template = templates.split(f"# {which}\n", 1)[1].split("\n# ", 1)[0]
    source = (
        template.replace("@name@", method.name)
        .replace("@parameters@", parameters)
        .replace("@given@", given)
        .replace("@me@", me)
    )
    names = {**names, **defaults, "_kvreg_function": method.function, "_kvreg_later": Later}
    where = f"<kvreg {kind.server.__qualname__}.{method.name}>"
    made = _compiled(source, method.name, where, names)
    made.__doc__ = method.function.__doc__
    made.__qualname__ = f"{kind.server.__qualname__}.{method.name}"
    made.__module__ = method.function.__module__
    return made
