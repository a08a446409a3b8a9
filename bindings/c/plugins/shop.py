"""A plug-in in Python for a host in C: a shop, which the host calls by its name.

The host is `python_host.c`. It imports this module once, and what is started here lives in the
host's registry from then on.
"""

from __future__ import annotations

import kvreg


class Shop(kvreg.Server):
    """Sells, and counts what it has sold."""

    def __init__(self) -> None:
        self.prices = {"bread": 249, "milk": 119}
        self.counts: dict[str, int] = {}

    @kvreg.call
    def buy(self, what: str, count: int) -> int:
        """What so much costs, in cents. The shop crashes if it does not have that."""
        if count < 1:
            raise kvreg.Refused(f"{count} of {what} cannot be bought")
        self.counts[what] = self.counts.get(what, 0) + count
        return self.prices[what] * count

    @kvreg.call
    def sold(self, what: str, _count: int) -> int:
        """How much of that was sold by this shop, since it was started."""
        return self.counts.get(what, 0)


Shop.start(kvreg.Registry.whereis("plugins"), "shop")
