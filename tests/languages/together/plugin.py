"""A server in Python; see together.js."""

from __future__ import annotations

import kvreg

registry = kvreg.Registry.whereis("together")


class Python(kvreg.Server):
    """Greets, and has others greet."""

    @kvreg.call
    def greet(self, who: str) -> str:
        """A greeting."""
        return f"Python greets {who}"

    @kvreg.call
    def ask(self, whom: str) -> str:
        """How another server greets this one."""
        greeting: str = registry.servers[whom].call("greet", "Python")
        return greeting


Python.start(registry, "Python")
