"""A workload's arrays in one file, so that other simulators train on the very same data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.bench.workloads import Workload
from fedrec.data.batches import Samples, draw_negatives, draw_samples
from fedrec.data.population import expand
from fedrec.data.tiles import lay_out
from fedrec.engine.server_side import AppServer
from fedrec.params import PartialSum
from fedrec.training.node import Setup, init_personal, init_shared, prepare, train_node


def export_workload(workload: Workload, file: Path, rounds: int = 6) -> None:
    """Write what another simulator needs to train the rounds of a workload.

    Args:
        workload: which.
        file: an .npz is written there.
        rounds: rounds whose clients are written.

    The file holds, for the K clients that are chosen in any of the rounds:

    * ``clients`` int64 [K]: their numbers in the population, ascending;
    * ``indptr`` int64 [K+1], ``items`` int32 [T]: training items of client k are
      ``items[indptr[k]:indptr[k+1]]``;
    * ``negatives`` int32 [T, 4]: pre-sampled for each training item;
    * ``sample_indptr`` int64 [K+1], ``sample_item`` int32 [5 T], ``sample_label``
      float32 [5 T]: items and negatives of each client as training samples, in the
      order in which they are cut into batches: batch s of client k is
      ``sample_indptr[k] + 256 * s`` and the following up to 256 (the last one is
      smaller).  Train them in this order, in every round, without shuffling;
    * ``chosen`` int64 [rounds, C]: who trains in each round, as positions in ``clients``;
    * ``table`` float32 [I, d]: the initial item table; ``user`` float32 [K, d]: the
      initial personal vectors;
    * ``weights/NAME`` float32: initial dense weights (W2: ``mlp_0/kernel`` [2 d, 64],
      ``mlp_0/bias``, ..., ``head/kernel``, ``head/bias``; the input is [user, item]);
    * ``hyper``: JSON with ``name``, ``model`` ("mf" or "keras"), ``dim``, ``num_items``,
      ``num_users`` (of the whole population), ``lr`` (of everything), ``batch``,
      ``epochs``, ``negatives``, ``per_round`` and ``loss``.  The loss of a batch is the
      mean logistic loss over its samples; the server adds the mean of the clients' changes,
      weighted by their number of samples;
    * ``update_ids`` int64 [R], ``update_rows`` float64 [R, d], ``update_weights/NAME``
      float64: the mean change that fedrec adds to the table (all other rows: 0) and to the
      weights in round 1; ``update_user`` float32 [C, d]: the change of the user vectors of
      ``chosen[0]``.
    """
    setup = prepare(workload.config)
    shared = init_shared(setup)
    server = AppServer(setup, shared)
    cohorts = [server.sample(number) for number in range(1, rounds + 1)]
    clients = np.unique(np.concatenate(cohorts))
    personal = init_personal(setup, clients)
    first = np.searchsorted(clients, cohorts[0])
    before = personal.take(first)
    total, after = train_node(setup, shared, before, cohorts[0], 1)
    arrays = {
        **_interactions(setup, clients),
        **_batches(setup, clients),
        "clients": clients,
        "chosen": np.stack([np.searchsorted(clients, cohort) for cohort in cohorts]),
        "table": shared.tables["item"],
        "user": personal.values["user"],
        **{f"weights/{name}": value for name, value in shared.weights.items()},
        **_mean_update(setup, server, total),
        "update_user": after.values["user"] - before.values["user"],
        "hyper": np.array(json.dumps(_hyper(setup, workload))),
    }
    np.savez(file, **arrays)  # type: ignore[arg-type]


def read_export(file: Path) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Return the arrays of an exported file, and its hyper-parameters."""
    with np.load(file, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    return arrays, json.loads(str(arrays.pop("hyper")))


def _interactions(setup: Setup, clients: NDArray[np.int64]) -> dict[str, NDArray]:
    population, seed = setup.population, setup.config.run.seed
    negatives, _ = draw_negatives(population, clients, seed, 1, setup.method.sampling)
    return {
        "indptr": _pointers(np.diff(population.indptr)[clients]),
        "items": population.items[expand(population.indptr, clients)],
        "negatives": negatives.astype(np.int32),
    }


def _batches(setup: Setup, clients: NDArray[np.int64]) -> dict[str, NDArray]:
    """Return each client's samples in the order of its batches."""
    seed, spec = setup.config.run.seed, setup.method.sampling
    samples = draw_samples(setup.population, clients, seed, 1, spec)  # in the order of round 1
    count = np.bincount(samples.client, minlength=len(clients))
    batch = setup.config.train.batch
    item, label = [], []
    step = 256  # clients: a padded layout of all at once would be large
    for at in range(0, len(clients), step):
        part = _part(samples, at, min(at + step, len(clients)))
        laid = lay_out(part, batch, 1, batch)
        steps = np.argsort(laid.client[laid.batch], kind="stable")  # a tile is a batch
        order = laid.source[steps][laid.weight[steps] > 0]
        item.append(part.fields["item"][order].astype(np.int32))
        label.append(part.label[order])
    return {
        "sample_indptr": _pointers(count),
        "sample_item": np.concatenate(item),
        "sample_label": np.concatenate(label),
    }


def _part(samples: Samples, first: int, last: int) -> Samples:
    low, high = np.searchsorted(samples.client, [first, last])
    return Samples(
        samples.client[low:high] - first,
        {name: value[low:high] for name, value in samples.fields.items()},
        samples.label[low:high],
        samples.weight[low:high],
        samples.order[low:high],
        last - first,
    )


def _mean_update(setup: Setup, server: AppServer, total: PartialSum) -> dict[str, NDArray]:
    mean = server.mean_update(total)
    table = mean.tables["item"]
    dense = {f"update_weights/{name}": value for name, value in mean.weights.items()}
    return {"update_ids": table.ids, "update_rows": table.rows, **dense}


def _hyper(setup: Setup, workload: Workload) -> dict[str, Any]:
    config, population = setup.config, setup.population
    return {
        "name": workload.name,
        "model": config.model.name,
        "dim": config.model.dim,
        "num_items": population.num_items,
        "num_users": population.num_users,
        "lr": config.train.lr,
        "batch": config.train.batch,
        "epochs": config.train.epochs,
        "negatives": config.train.negatives,
        "per_round": config.clients.per_round,
        "loss": config.model.loss,
    }


def _pointers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
