"""The servers of a registry that programs write, as a mapping from names to handles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._constants import Status
from ._errors import ServerNotFound, WrongKind

if TYPE_CHECKING:
    from ._registry import Registry


class Servers(Mapping[str, Any]):
    """What `Registry.servers` is: servers that programs write, by name, as a read-only `dict`.

    Each lookup gives a new handle, with a timeout of its own. Of a class of this process it has
    that class's methods; of any it has `call`, `cast` and what `kvreg.Server` says besides. Its
    type is Any: `Counter.find(registry, name)` gives the same, typed. Buckets, which share the
    names, are not among them. To iterate sees the names as they are at one instant.
    """

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getitem__(self, name: str) -> Any:
        """A handle of the server that has the name now; `ServerNotFound` (a `KeyError`).

        `WrongKind` if a bucket has it. Waits for casts of this thread only.
        """
        from ._starting import looked_up

        return looked_up(self._registry, name)

    def __contains__(self, name: object) -> bool:
        """Whether a server has the name now. Waits for casts of this thread only."""
        if not isinstance(name, str):
            return False
        try:
            self[name].close()
        except (ServerNotFound, WrongKind, UnicodeEncodeError):
            return False
        except Exception as refused:
            if getattr(refused, "status", None) == Status.INVALID_ARGUMENT:
                return False  # it cannot be a name
            raise
        return True

    def __iter__(self) -> Iterator[str]:
        """The names as they are at this instant. Waits for casts of this thread only."""
        return iter(self._registry._servers())

    def __len__(self) -> int:
        """How many there are. Waits for casts of this thread only."""
        return len(self._registry._servers())

    def __repr__(self) -> str:
        return f"<the servers of {self._registry!r}>"
