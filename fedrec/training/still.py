"""Phases in which nothing shared moves: what items bring into a score is computed once.

Most steps of a round move personal parameters alone (user vectors).  A model of towers or a
network then asks the same of an item for every sample of it; here it is asked once for each
item (`fedrec.models.frozen`), and the samples read rows of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fedrec.models.attributed import PROFILE
from fedrec.models.frozen import Form, form_of
from fedrec.models.recommender import Tensors
from fedrec.training.compiled import compile_once
from fedrec.training.methods import Phase

if TYPE_CHECKING:
    from fedrec.training.cohort import Cohort


def still_before(phases: tuple[Phase, ...]) -> bool:
    """Return whether nothing shared has moved after these phases."""
    return not any(phase.shared for phase in phases)


def still_form(cohort: Cohort) -> Form | None:
    """Return the form of a cohort's model; None if it has none, or none that would save work.

    Items that are more than the samples would ask more than the samples do.
    """
    form, tables = form_of(cohort.model), cohort.start["rows"]
    if form is None or not tables:
        return None
    size = next(iter(tables.values())).shape[0]
    return form if size <= len(cohort.samples.client) else None


def still_cohort(cohort: Cohort, form: Form) -> Cohort:
    """Return a cohort whose model is over what items bring, as they were received.

    Args:
        cohort: of C clients, whose shared parameters have not moved.
        form: of its model.

    Returns:
        The cohort, without rows or weights that could move.
    """
    received = cohort.start
    given: dict[str, Any] = {n: received["personal"][n] for n in form.model.vectors()}
    tables, own, users = compile_form(form)(
        received["rows"], received["weights"], profile_of(cohort, form)
    )
    start = {"rows": tables, "weights": own, "personal": {**given, **users}, "aims": {}}
    return replace(cohort, model=form.model, start=start, touched={})


def profile_of(cohort: Cohort, form: Form) -> dict[str, Any]:
    """Return the attributes of the cohort's users {"profile": [C, A']}, if the form reads any."""
    return {PROFILE: cohort.start["personal"][PROFILE]} if form.width else {}


@lru_cache(maxsize=64)
def compile_form(form: Form) -> Callable[..., Any]:
    """Return the compiled way to the form's values.

    Args:
        form: of a model.

    Returns:
        (item tables and features [I, ...], weights [1, ...], profile [C, A']) -> tables
        [I, ...], weights [1, ...] and values of users [C, ...].
    """

    def run(tables: Tensors, weights: Tensors, profile: Tensors) -> tuple[Tensors, ...]:
        one = {name: value[0] for name, value in weights.items()}
        users = form.of_profile(profile[PROFILE], one) if form.width else {}
        own = {name: value[None] for name, value in form.weights(one).items()}
        return dict(form.of_items(tables, one)), own, dict(users)

    return compile_once(run, (1, 0, 1))
