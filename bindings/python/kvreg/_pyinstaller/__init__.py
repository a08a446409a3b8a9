"""Tells PyInstaller, which asks for it by an entry point, what to put into a program."""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Where the hook is."""
    return [str(Path(__file__).resolve().parent)]
