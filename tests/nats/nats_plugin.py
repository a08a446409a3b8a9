"""Gives tests servers, and the files that they were told of."""

from __future__ import annotations

from collections.abc import Iterator

import kvreg
import nats_servers
import pytest


@pytest.fixture(scope="session")
def shared_server() -> Iterator[nats_servers.Server]:
    """One for tests that leave it as it was, but for buckets with names of their own."""
    with nats_servers.one_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[nats_servers.Server]:
    """One of the test's own, which it may kill."""
    with nats_servers.one_server() as server:
        yield server


@pytest.fixture
def road(server: nats_servers.Server) -> Iterator[nats_servers.Road]:
    """To the test's own server."""
    road = nats_servers.Road(server.port)
    yield road
    road.close()


@pytest.fixture
def registry(shared_server: nats_servers.Server) -> Iterator[kvreg.Registry]:
    """Its buckets lie on the server that is shared."""
    with kvreg.Registry(store=shared_server.url) as registry:
        yield registry
