"""The example by which the package introduces itself."""

from __future__ import annotations

import kvreg


def test_the_example() -> None:
    with kvreg.Registry() as registry:
        shopping = registry.create("shopping")
        shopping["milk"] = 1
        assert shopping["milk"] == 1
        shopping.update("milk", lambda n: n + 1)
        assert shopping["milk"] == 2
        with kvreg.Inbox() as inbox:
            reference = inbox.monitor(shopping)
            shopping.stop()
            down = inbox.receive(timeout=1.0)
        assert "shopping" not in registry

    assert down == kvreg.Down(
        reference=reference, reason=kvreg.Reason.NORMAL, name="shopping", detail=""
    )
