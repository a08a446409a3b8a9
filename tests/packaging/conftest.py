"""What several tests of distributions need."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from distributions import PROJECT, output


@pytest.fixture(scope="session")
def without_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What builds need is fetched once: they are isolated as users' are, and ask no index."""
    text = (PROJECT / "pyproject.toml").read_text()
    needed = re.findall(r'"(.+?)"', text.partition("requires = [")[2].partition("]")[0])
    assert needed
    fetched = tmp_path_factory.mktemp("fetched")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
    output(*pip, "--quiet", "--only-binary=:all:", "--dest", fetched, *needed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(fetched))
        yield
