"""A process that answers all messages of a SuperNode on this machine.

    python -m fedrec.engine.worker --address HOST:PORT --supernode PID [--app DIR]

Flower starts a process for each message, which imports TensorFlow, loads the
population and compiles anew.  This one stays: what a node keeps between rounds is
still in the SuperNode, but data and compiled functions are at hand.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fedrec.engine._flower import answer_tasks
from fedrec.engine.apps import app_dir, load_client_app


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the client app and answer until the SuperNode ends."""
    parser = argparse.ArgumentParser(prog="python -m fedrec.engine.worker", description=__doc__)
    parser.add_argument("--address", required=True, help="of the SuperNode's runtime API")
    parser.add_argument("--supernode", type=int, required=True, help="its process id")
    parser.add_argument("--app", type=Path, help="an app directory; default: fedrec's own")
    given = parser.parse_args(arguments)
    answer_tasks(given.address, given.supernode, load_client_app(given.app or app_dir()))


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # threads that still wait for the SuperNode must not keep a dead node here
