"""Fair weights: clients that the model serves badly count for more.

q-FFL (Li et al., "Fair resource allocation in federated learning", ICLR 2020) minimises the
sum over clients of F_k**(q + 1) / (q + 1), whose gradient is the sum of F_k**q times each
client's own.  So a client multiplies its update by (min(F_k, b) / b)**q, where F_k is its
mean training loss of the round and b = server.fair_loss.

The factor is never above 1 and is applied by the client, before its update is clipped, masked
or given noise.  So nothing more is sent (no loss of a client, no weight), every bound of an
update holds as it did, and secure aggregation and the accounting of differential privacy are
what they were.  The price: the server cannot divide by the sum of the factors, as the paper
does.  With server optimisers that do not see the scale of a step (Adam) that changes
nothing; with SGD the step is smaller by the mean factor, and server.table_lr makes up for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.privacy.stages import scale_clients
from fedrec.training.cohort import CohortUpdate
from fedrec.training.methods import Method


def fair_factors(loss: NDArray[np.float64], q: float, bound: float) -> NDArray[np.float64]:
    """Return (min(loss, bound) / bound)**q, float64 [C] in [0, 1].

    Args:
        loss: float64 [C]; one that is not finite counts as the bound.
        q: 0 for equal factors.
        bound: b.
    """
    known = np.where(np.isfinite(loss), loss, bound)
    return np.asarray((np.clip(known, 0.0, bound) / bound) ** q, np.float64)


def fairly_weighted(config: Config, method: Method, update: CohortUpdate) -> CohortUpdate:
    """Return the updates times the factors of their clients, if `server.fairness` is above 0.

    Args:
        config: q and the bound.
        method: of the round; where it sums statistics there is no loss, and all count alike.
        update: of C clients.
    """
    section = config.server
    if not section.fairness or method.statistics is not None:
        return update
    factor = fair_factors(update.loss, section.fairness, section.fair_loss)
    return scale_clients(update, factor)
