"""What pooling would give if shops also knew which of their customers are the same people.

It is another agreement than training together, and no upper bound of what that can reach;
told beside it, because shops ask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.chosen import Candidate
from fedrec.merchants.ranked import Field
from fedrec.training.ease import ease_weights, gram_matrix
from fedrec.training.scorer import Scorer


def possible(field: Field) -> bool:
    """Whether it can be told: EASE, and people who are customers of several merchants."""
    several = len(np.unique(field.person)) < len(field.person)
    return field.setup.config.train.method == "ease" and several


def linked_candidates(field: Field, ridges: tuple[float, ...]) -> list[Candidate]:
    """Return plain EASE of people's whole histories, with each ridge.

    A customer is scored by all that the person has bought anywhere in the training part.
    """
    from scipy.sparse import csr_matrix

    population = field.setup.population
    owner = np.repeat(field.person, np.diff(population.indptr))
    size = (int(field.person.max()) + 1, population.num_items)
    met = csr_matrix((np.ones(len(owner)), (owner, population.items)), size)
    met.data[:] = 1.0
    gram = gram_matrix(met)

    def scorer(ridge: float) -> Scorer:
        weights = ease_weights(gram, ridge)

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.asarray(met[field.person[users]] @ weights, np.float32)

        return score

    return [Candidate(f"ridge {ridge:g}", scorer(ridge)) for ridge in ridges]
