"""Personal parameters of a node, in memory or on the disk as the configuration says."""

from __future__ import annotations

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from clients import personal as memory
from clients.hosting import Host
from clients.personal_disk import DiskStore, MappedPersonal
from fedrec.errors import CheckpointError
from fedrec.machine import memory_gib
from fedrec.params import Personal
from fedrec.training.node import personal_users
from fedrec.wire import Moment, PersonalState, store_state

MEMORY_SHARE = 32
"""Above this part of the machine's memory `auto` keeps personal parameters on the disk:
a state in memory is held about six times while it is unpacked, changed and packed."""


def begin_round(here: Host, state: RecordDict, moment: Moment) -> PersonalState:
    """Return the state to train from; see `clients.personal.begin_round`."""
    disk = _disk(here, moment)
    if disk is not None:
        return disk.begin_round(state, moment)
    return memory.begin_round(state, moment, here.directory, here.fresh)


def keep(
    here: Host,
    state: RecordDict,
    moment: Moment,
    start: PersonalState,
    trained: Personal,
    chosen: NDArray[np.int64],
    round_number: int,
) -> None:
    """Make what a round has trained the node's current state.

    Args:
        here: the node.
        state: its context state, changed.
        moment: of the request.
        start: what `begin_round` returned; on the disk its rows are overwritten.
        trained: new personal parameters of the clients that have trained.
        chosen: int64 [c], these clients.
        round_number: the round.
    """
    index, places = here.positions(chosen), np.searchsorted(here.clients, chosen)
    disk = _disk(here, moment)
    kept = trained if disk is not None else here.compact(trained, chosen)
    after = PersonalState(round_number, scatter(start.personal, kept, index, places))
    if disk is not None:
        disk.keep(state, after)
    else:
        store_state(state, "current", after)


def end_round(here: Host, state: RecordDict, moment: Moment) -> None:
    """Write the node's states at a checkpoint; see `clients.personal.end_round`."""
    disk = _disk(here, moment)
    if disk is not None:
        disk.end_round(state, moment)
    else:
        memory.end_round(state, moment, here.directory)


def at_round(here: Host, state: RecordDict, moment: Moment) -> Personal:
    """Return the personal parameters to evaluate; see `clients.personal.at_round`."""
    disk = _disk(here, moment)
    if disk is not None:
        return disk.at_round(state, moment)
    return memory.at_round(state, moment, here.directory, here.fresh)


def scatter(
    everyone: Personal,
    some: Personal,
    index: NDArray[np.int64],
    clients: NDArray[np.int64] | None = None,
) -> Personal:
    """Return `everyone` with some rows replaced by `some`.

    Rows on the disk are overwritten; arrays in memory are copied.

    Args:
        everyone: of the node.
        some: what replaces them.
        index: int64, distinct, rows of `values`.
        clients: int64, distinct, rows of `own`.
    """
    if isinstance(everyone, MappedPersonal):
        everyone.put(index, some)
        return everyone
    values = {}
    for name, value in everyone.values.items():
        values[name] = value.copy()
        values[name][index] = some.values[name]
    own = {name: value.copy() for name, value in everyone.own.items()}
    for name, value in own.items():
        value[clients] = some.own[name]
    return Personal(values, own)


def _disk(here: Host, moment: Moment) -> DiskStore | None:
    """Return the store on the disk, or None if the node keeps all in memory.

    Raises:
        CheckpointError: if this very run was begun the other way.
    """
    folder = here.directory / moment.session
    users = here.setup.population.address(personal_users(here.setup, here.clients))

    def initial(index: NDArray[np.int64]) -> Personal:
        return here.setup.model.init_personal(users[index], here.setup.config.run.seed)

    asked = here.setup.config.train.personal_store
    on_disk = asked == "disk"
    if asked == "auto" and not here.setup.method.controls:
        one = sum(v.nbytes for v in initial(np.zeros(1, np.int64)).values.values())
        on_disk = one * len(users) > memory_gib() * 2**30 / MEMORY_SHARE > 0
    other = "*.ckpt" if on_disk else "*.rows"
    if any(folder.glob(f"round-{other}")):
        here_now, before = ("disk", "memory") if on_disk else ("memory", "disk")
        raise CheckpointError(
            f"{folder} was begun with personal parameters in {before}, and this machine would "
            f"keep them in {here_now}: begin again with train.personal_store = {before!r}"
        )
    return DiskStore(folder, len(users), initial) if on_disk else None
