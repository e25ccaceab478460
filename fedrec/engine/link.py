"""A SuperLink whose interfaces, but for that of SuperNodes, answer this machine alone.

python -m fedrec.engine.link OPTIONS OF flower-superlink
"""

from __future__ import annotations

from fedrec.engine._flower import run_superlink
from fedrec.engine.guard import OwnMachineOnly

if __name__ == "__main__":
    run_superlink(OwnMachineOnly)
