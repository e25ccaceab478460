"""The server's half of a floor under exposure: weights of items follow what validation shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedrec.evaluation.providers import exposure_names, item_groups
from fedrec.params import Shared
from fedrec.training.node import Setup
from fedrec.training.provider_weights import TABLE, merits, stepped


def steered(setup: Setup, shared: Shared, metrics: Mapping[str, float]) -> Shared:
    """Return the parameters with weights of items after a validation.

    Args:
        setup: names the groups, the floor and the rate.
        shared: as evaluated; not changed.
        metrics: means of the validation.

    Returns:
        The same arrays but for the weights; `shared` itself without `server.exposure`, or if
        exposure was not measured.
    """
    section, population = setup.config.server, setup.population
    told = exposure_names(setup.config, population)
    if not section.exposure or any(name not in metrics for name in told):
        return shared
    groups = item_groups(setup.config, population)
    shown = np.array([metrics[name] for name in told])
    table = stepped(
        shared.fixed[TABLE],
        np.stack(list(groups.values())),
        shown / max(float(shown.sum()), 1e-12),
        merits(groups, population, section.exposure_by),
        section.exposure,
        section.exposure_lr,
    )
    return replace(shared, fixed={**shared.fixed, TABLE: table})
