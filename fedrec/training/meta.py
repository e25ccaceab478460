"""Reptile: the start of personal parameters moves to where clients have adapted.

Nichol, Achiam and Schulman, "On first-order meta-learning algorithms" (2018), batched
version: start <- start + rate * mean over clients of (adapted - start).  Clients are the
tasks; a client sends the difference as the change of the dense weight "start/<name>", so
that it is clipped, masked, noised and averaged like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedrec.models.started import START
from fedrec.params import Personal

if TYPE_CHECKING:
    from fedrec.training.cohort import CohortUpdate

REPTILE = "reptile"


def with_starts(method: str, update: CohortUpdate, before: Personal) -> CohortUpdate:
    """Return updates whose starts have moved as far as each client's personal parameters.

    Args:
        method: name of the method; others than Reptile move starts by gradients.
        update: of C clients.
        before: their personal parameters as training began, [C, ...].
    """
    if method != REPTILE:
        return update
    after, start = update.personal.values, before.values
    moved = {
        name: after[own] - start[own] if name.startswith(START) else value
        for name, value, own in ((n, v, n.removeprefix(START)) for n, v in update.weights.items())
    }
    return replace(update, weights=moved)
