"""What the devices of a finished run hold, where its simulated nodes lie beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.params import Personal, Shared
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import Setup, init_personal, personal_users
from fedrec.training.pooled import by_user
from fedrec.training.scorer import Scorer

_SLOTS = ("selected", "current")


def stored_personal(run: Path, setup: Setup, round_number: int) -> Personal | None:
    """Return the personal parameters of all clients as a round has left them.

    Nodes that run in the process of the server, or on Ray, keep theirs in the run's
    directory; those of a deployment keep them where they are, and nothing is found.

    Args:
        run: output directory of the run.
        setup: of its configuration.
        round_number: the selected round.

    Returns:
        Stacked like all local users; None if a node or the round is not there.

    Raises:
        CheckpointError: if a file is damaged.
    """
    everyone = np.arange(setup.population.num_clients)
    start = init_personal(setup, everyone)
    if not start.values:
        return start
    values = {name: value.copy() for name, value in start.values.items()}
    left = np.ones(setup.population.num_users, bool)
    for clients, folder in _nodes(RunDirectory(run).clients, everyone):
        found = _of_round(folder, round_number)
        users = personal_users(setup, clients)
        if found is None:
            return None
        owner = np.searchsorted(clients, setup.population.client_of_user[users])
        held = by_user(Personal.from_arrays(found), owner).values
        if any(len(held[n]) != len(users) for n in values if n in held):
            return None
        for name, value in held.items():
            values[name][users] = value
        left[users] = False
    return None if left.any() else Personal(values)


def _nodes(root: Path, everyone: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Path]]:
    """Yield the clients of each node with its folder; node p of n hosts every n-th from p."""
    for folder in sorted(root.glob("*-of-*")):
        place, _, number = folder.name.partition("-of-")
        if place.isdigit() and number.isdigit() and int(number):
            yield everyone[int(place) :: int(number)], folder


def _of_round(folder: Path, round_number: int) -> dict[str, NDArray[np.float32]] | None:
    for file in sorted(folder.glob("*/round-*.ckpt"), reverse=True):
        arrays, meta = read_arrays(file)
        for slot in _SLOTS:
            if meta["tags"].get(slot) == round_number:
                start = f"{slot}."
                return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}
    return None


def device_scorer(setup: Setup, shared: Shared, personal: Personal, round_number: int) -> Scorer:
    """Return what each client scores with on its own device, whatever the model.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like all local users.
        round_number: the round that `shared` comes from.
    """
    from fedrec.training.tuning import client_scorer

    everyone = np.arange(setup.population.num_clients)
    return client_scorer(setup, shared, personal, everyone, round_number)
