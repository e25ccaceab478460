"""Personal parameters that a phase takes from a solver, and not from steps."""

from __future__ import annotations

from collections.abc import Callable

from fedrec.data.batches import Samples
from fedrec.params import Personal, Shared
from fedrec.training.methods import Method

Solver = Callable[[Shared, Personal, Samples, Method], Personal]
"""Closed form: from what was received, kept and drawn to the clients' new personal parameters."""


def asked_of(solver: Solver | None) -> Solver:
    """Return the solver of a closed-form phase.

    Raises:
        ValueError: if there is none.
    """
    if solver is None:
        raise ValueError("a closed-form phase needs solve_personal")
    return solver
