"""A SuperNode that asks for messages more often than Flower's own.

python -m fedrec.engine.supernode OPTIONS OF flower-supernode
"""

from __future__ import annotations

from fedrec.engine._flower import run_supernode

if __name__ == "__main__":
    run_supernode()
