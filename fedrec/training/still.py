"""Phases in which nothing shared moves: what items bring into a score is computed once.

Most steps of a round move personal parameters alone (user vectors).  A model of towers or a
network then asks the same of an item for every sample of it; here it is asked once for each
item (`fedrec.models.frozen`), and the samples read rows of the answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedrec.models.attributed import PROFILE
from fedrec.models.frozen import form_of
from fedrec.training.methods import Phase

if TYPE_CHECKING:
    from fedrec.training.cohort import Cohort


def still_before(phases: tuple[Phase, ...]) -> bool:
    """Return whether nothing shared has moved after these phases."""
    return not any(phase.shared for phase in phases)


def still_cohort(cohort: Cohort) -> Cohort | None:
    """Return a cohort whose model is over what items bring, as they were received.

    Args:
        cohort: of C clients, whose shared parameters have not moved.

    Returns:
        The cohort, without rows or weights that could move; None if its model has no such
        form, or the items are more than the samples, which then ask less.
    """
    form = form_of(cohort.model)
    received = cohort.start
    if form is None or not received["rows"]:
        return None
    size = next(iter(received["rows"].values())).shape[0]
    if size > len(cohort.samples.client):
        return None
    weights = {name: value[0] for name, value in received["weights"].items()}
    given: dict[str, Any] = {n: received["personal"][n] for n in form.model.vectors()}
    if form.width:
        given |= form.of_profile(received["personal"][PROFILE], weights)
    start = {
        "rows": dict(form.of_items(received["rows"], weights)),
        "weights": {n: value[None] for n, value in form.weights(weights).items()},
        "personal": given,
        "aims": {},
    }
    return replace(cohort, model=form.model, start=start, touched={})
