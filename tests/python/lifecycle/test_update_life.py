"""What can happen in the middle of an update, or of any call: nothing is lost by it."""

from __future__ import annotations

import pytest
from runs import ends_well


@pytest.mark.parametrize("scenario", ["exceptions", "itself"])
def test_an_update(scenario: str) -> None:
    ends_well("updates", scenario)


@pytest.mark.parametrize("scenario", ["handlers", "first_use"])
def test_what_interrupts_a_call_may_call(scenario: str) -> None:
    ends_well("updates", scenario)


def test_what_interrupts_a_call_may_raise() -> None:
    ends_well("updates", "storm")
