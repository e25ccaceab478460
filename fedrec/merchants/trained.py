"""Models that are trained: alone, pooled, federated, and federated then trained on at home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, Scalar
from fedrec.config_merchants import numbers_of
from fedrec.errors import CheckpointError
from fedrec.merchants.chosen import Candidate
from fedrec.merchants.ranked import Field
from fedrec.models.export import load_model
from fedrec.params import Personal, Shared
from fedrec.results import SystemResult
from fedrec.run import OnEvent
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.central import central_epochs
from fedrec.training.local_only import by_itself, own_passes, trained_on
from fedrec.training.node import Setup, init_personal
from fedrec.training.pooled import by_user
from fedrec.training.scorer import Scorer
from fedrec.training.tuning import client_scorer


def run_federated(config: Config, directory: Path, engine: str, on_event: OnEvent) -> None:
    """Train the federated system, unless it is there; an interrupted run is continued."""
    from fedrec.engine.run_engine import execute

    if RunDirectory(directory).system.is_file():
        return
    directory.mkdir(parents=True, exist_ok=True)
    keys: dict[str, Scalar] = {
        "run.out": str(directory),
        "train.personal_store": "memory",  # whose files say who a row belongs to
        "evaluate.bootstrap": 0,  # intervals are those of the comparison
    }
    execute(config.with_(keys), engine=engine, on_event=on_event)


def federated_scorer(setup: Setup, files: RunDirectory, system: SystemResult) -> Scorer:
    """Return the scorer of a finished run, at the round that it selected.

    Raises:
        CheckpointError: if its files are missing or corrupted.
    """
    shared, personal = load_run(setup, files, system)
    everyone = np.arange(setup.population.num_clients)
    return client_scorer(setup, shared, personal, everyone, system.selected_round or 0)


def load_run(setup: Setup, files: RunDirectory, system: SystemResult) -> tuple[Shared, Personal]:
    """Return the shared parameters that a run exports, and the personal ones of its nodes.

    In a simulation the nodes' files lie beside the run; in a deployment nobody has them all.

    Args:
        setup: of the run.
        files: its directory.
        system: its element of `systems`.

    Returns:
        What the server has, and what stays with the merchants, stacked by local user.

    Raises:
        CheckpointError: if a node's file is missing or corrupted.
    """
    shared, chosen = load_model(files.model).shared, system.selected_round or 0
    population = setup.population
    personal = init_personal(setup, np.arange(population.num_clients))
    values = {name: value.copy() for name, value in personal.values.items()}
    if not values:
        return shared, personal
    folders = sorted(f for f in files.clients.iterdir()) if files.clients.is_dir() else []
    covered = 0
    for folder in folders:
        number, _, nodes = folder.name.partition("-of-")
        clients = np.arange(int(number), population.num_clients, int(nodes))
        users = population.users_of(clients)
        owner = np.searchsorted(clients, population.client_of_user[users])
        kept = Personal.from_arrays(_newest(folder.rglob("round-*.ckpt"), chosen))
        for name, value in by_user(kept, owner).values.items():
            values[name][users] = value
        covered += len(clients)
    if covered != population.num_clients:
        raise CheckpointError(
            f"{files.clients} holds the personal parameters of {covered} of "
            f"{population.num_clients} merchants: run the comparison again with --overwrite"
        )
    return shared, Personal(values)


def _newest(files: object, limit: int) -> dict[str, NDArray]:
    """Return the newest state of at most a round, of a node's checkpoint files."""
    found: dict[int, dict[str, NDArray]] = {}
    for file in sorted(files):  # type: ignore[call-overload]
        arrays, meta = read_arrays(file)
        for slot, tag in meta["tags"].items():
            mine = {n: a for n, a in arrays.items() if n.split(".", 1)[0] == slot}
            found[int(tag)] = {n.split(".", 1)[1]: a for n, a in mine.items()}
    usable = [tag for tag in found if tag <= limit]
    if not usable:
        raise CheckpointError(
            f"no node kept the personal parameters of round {limit}: run the comparison again "
            "with --overwrite"
        )
    return found[max(usable)]


def alone_candidates(field: Field) -> list[Candidate]:
    """Return every merchant trained on its own rows alone, after each few passes."""
    setup = by_itself(field.setup)
    clients = np.arange(field.setup.population.num_clients)
    return [
        Candidate(f"{number} passes", scorer)
        for number, _, scorer in own_passes(setup, clients, lasting=True)
    ]


def tuned_candidates(
    field: Field, federated: Scorer, shared: Shared, personal: Personal
) -> list[Candidate]:
    """Return the federated model, and that trained on at each merchant for more and more passes.

    Rates and passes are those of the section `local`.

    Args:
        field: merchants and customers.
        federated: scorer of the federated model as it is.
        shared: its shared parameters; every merchant trains a copy of its own.
        personal: what the merchants have, stacked by local user.
    """
    setup = by_itself(field.setup)
    start = trained_on(shared, personal, field.setup.population.num_users)
    clients = np.arange(field.setup.population.num_clients)
    trained = own_passes(setup, clients, start, lasting=True)
    return [
        Candidate("as it is", federated),
        *(Candidate(f"{number} more passes", scorer) for number, _, scorer in trained),
    ]


def pulled_candidates(
    field: Field, federated: Scorer, shared: Shared, personal: Personal
) -> list[Candidate]:
    """Return the federated model, and copies of it that a pull keeps near while they train on.

    The personal objective of Ditto (Li et al., ICML 2021, eq. 2): every merchant k minimises
    ``F_k(v) + pull / 2 * ||v - w*||^2``, where w* minimises the federation's own objective
    G(F_1, ..., F_K) (their eq. 1).  No v stands in G, so w* is what it would be without any v, and
    solving for v once w is final is the same objective at the same w*.  Their algorithm 1 takes a
    few steps of v in every round instead, towards the w of that round: it ends near the same
    solutions where problems are strongly convex (their theorem 1), and saves the passes at the
    end.  Elsewhere it may end in another local minimum, as its v has followed w from the first
    round on, while here it begins at the final w; and it selects no pull on validation, which
    here costs one solution for each.  Rates and passes are those of the section `local`.  Vectors
    of customers are free.

    Args:
        field: merchants and customers.
        federated: scorer of the federated model as it is.
        shared: its shared parameters, tables only.
        personal: what the merchants have, stacked by local user.
    """
    alone = by_itself(field.setup)
    local = field.setup.config.local
    clients = np.arange(field.setup.population.num_clients)
    found = [Candidate("as it is", federated)]
    for pull in numbers_of(field.setup.config, "pulls"):
        phases = tuple(replace(p, prox_mu=pull, epochs=local.epochs) for p in alone.method.phases)
        setup = replace(alone, method=replace(alone.method, phases=phases))
        start = (shared, personal)
        done = next(own_passes(setup, clients, start, lasting=True))  # all passes in one call
        found.append(Candidate(f"pull {pull:g}", done[2]))
    return found


def pooled_candidates(field: Field) -> list[Candidate]:
    """Return the model of all rows in one place, after each epoch; customers are not linked."""
    return [Candidate(f"{e.number} epochs", e.scorer) for e in central_epochs(field.setup)]
