"""Learning rates that fall while a model is trained.

The half cosine is that of Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm
restarts" (ICLR 2017), equation 5, without restarts and down to 0.
"""

from __future__ import annotations

import math

from fedrec.config_sections import ScheduleName


def share_of_rate(schedule: ScheduleName, done: int, of: int) -> float:
    """Return which share of a learning rate is left: all of it at first, none after the last.

    Args:
        schedule: "constant" (all of it, always) or "cosine".
        done: rounds, or epochs, that are over, from 0.
        of: all of them; from there on the share stays 0.
    """
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(done / max(of, 1), 1.0)))
