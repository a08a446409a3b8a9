"""Says where the file is that cargo built: built.py NAME reads cargo's messages in JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """What the module's text says."""
    (name,) = sys.argv[1:]
    messages = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    files = {file for message in messages for file in message.get("filenames", [])}
    found = [file for file in files if Path(file).name == name]
    if len(found) != 1:
        raise SystemExit(
            f"built.py: cargo built {len(found)} files with the name {name}, not one"
        )
    print(found[0])


if __name__ == "__main__":
    main()
