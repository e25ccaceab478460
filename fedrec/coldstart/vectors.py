"""Strategies that give a stranger personal parameters: a mean, what attributes say, or its own.

Of warm clients only sums are used: of their vectors, or of the products of attributes and
vectors that the normal equations of a ridge regression need.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.segments import one_hot, user_rules, user_values
from fedrec.coldstart.strangers import facing
from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.models.export_starts import Kept
from fedrec.models.recommender import personal_fixed
from fedrec.params import Personal
from fedrec.training.methods import Phase
from fedrec.training.node import Setup, init_personal
from fedrec.training.scorer import Scorer

_STAYS = "what a stranger reveals stays on its device"


def mean_vector(warm: Warm) -> Strategy:
    """The mean of the warm clients' personal parameters, for everybody."""
    mean = mean_personal(warm)
    return Strategy(
        "mean-vector",
        "nothing leaves a stranger's device; of warm clients the sum of their personal "
        "parameters is known, beside the sums of training",
        warm.shared.num_bytes + sum(value.nbytes for value in mean.values()),
        lambda population: personal_scorer(warm, population, started(warm, mean)),
        kept=kept_start(mean),
    )


def attribute_tower(warm: Warm) -> Strategy:
    """A linear map from a user's attributes to its vector, solved from sums over clients.

    With a row a_u of attribute values as ones and a client's vector v_u it is the ridge
    regression ``(sum a_u a_u' + l2 I)^-1 sum a_u v_u'``: one sum of fixed length, and no
    training.  A tower that is trained (model.name = two-tower) reads the same attributes.
    """
    values = user_values(warm)
    known = one_hot(values, warm.users)
    left = known.T @ known
    ridge = warm.setup.config.coldstart.tower_l2 * np.eye(len(left))
    ridge[0, 0] = 0.0  # the mean is not shrunk
    solved = {
        name: np.linalg.solve(left + ridge, known.T @ value.reshape(len(value), -1))
        for name, value in warm_vectors(warm).items()
    }
    everyone = one_hot(values, np.arange(warm.setup.population.num_users))
    shapes = {name: value.shape[1:] for name, value in warm_vectors(warm).items()}
    personal = {
        name: (everyone @ solved[name]).reshape(-1, *shapes[name]).astype(np.float32)
        for name in solved
    }
    return Strategy(
        "attribute-tower",
        "nothing leaves a stranger's device, its attributes neither; of warm clients the sums of "
        "products of attributes and personal parameters are known, beside the sums of training",
        warm.shared.num_bytes + sum(4 * value.size for value in solved.values()),
        lambda population: personal_scorer(warm, population, started(warm, personal)),
        kept=Kept(
            {f"map/{n}": v.reshape(-1, *shapes[n]) for n, v in solved.items()},
            {"attributes": user_rules(warm), "widths": {n: w for n, (_, w) in values.items()}},
        ),
    )


def reconstruction(warm: Warm) -> Strategy:
    """Personal parameters from what is revealed, by the model's own local steps.

    The shared part is frozen, as in FedRecon (Singhal et al., NeurIPS 2021): closed-form
    methods solve, others step, from the mean of the warm clients' parameters on.  A
    stranger who has revealed nothing keeps that mean.
    """
    mean = mean_personal(warm)
    start = started(warm, mean)
    return Strategy(
        "reconstruction",
        f"{_STAYS}; of warm clients the sum of their personal parameters is known, beside the "
        "sums of training",
        warm.shared.num_bytes + sum(value.nbytes for value in mean.values()),
        lambda population: personal_scorer(warm, population, rebuilt(warm, population, start)),
        kept=kept_start(mean),
    )


def rebuilt(warm: Warm, population: Population, start: Personal) -> Personal:
    """Return personal parameters of all users of a population, fitted to what they reveal.

    Args:
        warm: whose model and method it is.
        population: strangers, or the warm users themselves.
        start: stacked like all users; users without interactions keep it.
    """
    from fedrec.training.tuning import derive_personal, reconstruct

    setup = facing(_rebuilding(warm.setup), population)
    everyone = np.arange(population.num_clients)
    shown = np.diff(population.indptr) > 0
    if not shown.any():
        return start
    if setup.method.personal_is_solved:
        own = derive_personal(setup, warm.shared, start, everyone)
    else:
        own = reconstruct(setup, warm.shared, everyone, warm.round_number + 1, start)
    wide = {name: shown.reshape(-1, *[1] * (v.ndim - 1)) for name, v in own.values.items()}
    return Personal({n: np.where(wide[n], v, start.values[n]) for n, v in own.values.items()})


@lru_cache(maxsize=4)
def warm_vectors(warm: Warm) -> dict[str, NDArray[np.float32]]:
    """Return the trained personal parameters of the warm users, name -> float32 [W, ...].

    They are on the devices, and what a strategy makes of them must be sums.

    Raises:
        ConfigError: if the model has none.
    """
    setup = warm.setup
    own = warm.personal
    if own is None:
        everyone = np.arange(setup.population.num_clients)
        own = rebuilt(warm, setup.population, init_personal(setup, everyone))
    return {name: own.values[name][warm.users] for name in trained_names(setup)}


def trained_names(setup: Setup) -> list[str]:
    """Return the names of the personal parameters that clients train.

    Raises:
        ConfigError: if the model has none.
    """
    own, fixed = init_personal(setup, np.zeros(1, np.int64)), personal_fixed(setup.model)
    names = [name for name in own.values if name not in fixed]
    if not names:
        raise ConfigError(
            f"model.name = {setup.config.model.name!r} has no personal parameters: leave "
            "mean-vector, attribute-tower, reconstruction and prototypes out of the strategies, "
            "or set model.name = 'mf'"
        )
    return names


def mean_personal(warm: Warm) -> dict[str, NDArray[np.float32]]:
    """Return the mean of the warm clients' personal parameters, name -> float32 [...]."""
    vectors = warm_vectors(warm)
    return {n: value.mean(0, dtype=np.float64).astype(np.float32) for n, value in vectors.items()}


def started(warm: Warm, values: dict[str, NDArray[np.float32]]) -> Personal:
    """Return personal parameters of all users that begin with some values.

    Args:
        warm: whose model it is.
        values: name -> float32 [...] for everybody, or [U, ...].  What is not named (a
            user's own attributes) stays as the model begins with it.
    """
    everyone = np.arange(warm.setup.population.num_clients)
    start = init_personal(warm.setup, everyone).values
    named = {n: np.broadcast_to(value, start[n].shape) for n, value in values.items()}
    return Personal({**start, **{n: np.ascontiguousarray(v) for n, v in named.items()}})


def kept_start(values: dict[str, NDArray[np.float32]]) -> Kept:
    """Return personal parameters to begin with, as a device receives them."""
    return Kept({f"start/{name}": value for name, value in values.items()})


def personal_scorer(warm: Warm, population: Population, personal: Personal) -> Scorer:
    """Return the scorer of strangers with these personal parameters, stacked like all users."""
    from fedrec.training.scoring import make_scorer

    users = np.arange(population.num_users)
    return make_scorer(warm.setup.model, warm.shared, personal, users, population)


def _rebuilding(setup: Setup) -> Setup:
    """Return a setup whose method has phases of personal parameters alone before scoring."""
    method = setup.method
    if method.before_scoring or method.personal_is_solved:
        return setup
    for phase in method.phases:
        if phase.personal and phase.solver == "gradient":
            return replace(setup, method=replace(method, before_scoring=(_alone(setup, phase),)))
    raise ConfigError(
        f"train.method = {method.name!r} does not train personal parameters: leave mean-vector, "
        "attribute-tower and reconstruction out of the strategies"
    )


def _alone(setup: Setup, phase: Phase) -> Phase:
    steps = setup.config.coldstart.steps
    return replace(phase, shared=False, part="all", epochs=steps, prox_mu=0.0)
