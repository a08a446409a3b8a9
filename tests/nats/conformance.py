"""What any engine of shared stores must do, with servers: conformance.py PROGRAM ENGINE.

The same program on one server and on three, where each bucket has three replicas. What is
refused is refused at once, and what it says it lacks.
"""

from __future__ import annotations

import subprocess
import sys

from nats_servers import cluster, one_server


def main() -> int:
    """Runs both, and answers how the program ended."""
    program, engine = sys.argv[1:]
    with one_server() as server:
        print("== the engine of nats: on one server", flush=True)
        status = subprocess.call([program, f"{server.url}?keys=base64", engine])
    if status == 0:
        with cluster() as servers:
            print("== the engine of nats: on three servers", flush=True)
            url = f"{servers.direct}?replicas=3&keys=base64"
            status = subprocess.call([program, url, engine])
    return status


if __name__ == "__main__":
    sys.exit(main())
