"""A merchant's own model and the federated one, mixed by their scores.

Model interpolation (Mansour et al. 2020, "Three approaches for personalization with
applications to federated learning"; with weights that are learned Deng et al. 2020, APFL):
scores of both models are standardised for each customer and mixed in shares that are chosen
on validation.  Where the share of the own model is 0 the federated model stays as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.chosen import Candidate
from fedrec.merchants.ranked import Field
from fedrec.training.mixed import mixture
from fedrec.training.scorer import Scorer


def mixtures(own: Scorer, federated: Scorer, shares: tuple[float, ...]) -> list[Candidate]:
    """Return a mixture for each share of the own model, from 0 to 1."""
    return [Candidate(f"{share:.0%} own", mixture(own, federated, share)) for share in shares]


def by_merchant(field: Field, candidates: list[Candidate], place: NDArray[np.int64]) -> Scorer:
    """Return a scorer that uses for each merchant the candidate that it has chosen.

    Args:
        field: merchants and customers.
        candidates: to choose from.
        place: int64 [M], which candidate each merchant has.
    """

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((len(users), field.setup.population.num_items), np.float32)
        chosen = place[field.merchant[users]]
        for number in np.unique(chosen).tolist():
            mine = chosen == number
            out[mine] = candidates[number].scorer(users[mine])
        return out

    return score
