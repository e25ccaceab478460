"""What a finished run leaves: system.json, test sums for paired tests, the model."""

from __future__ import annotations

import io
import json
from statistics import median
from typing import Any

import numpy as np

from fedrec.config import Config
from fedrec.data.population import Population
from fedrec.evaluation.summary import nest, summarise, system_name
from fedrec.evaluation.sums import EvaluationSums, to_arrays
from fedrec.machine import peak_memory_mib
from fedrec.models.export import export_model
from fedrec.privacy.collaboration import with_setting
from fedrec.storage import RunDirectory, replace_file
from fedrec.training.control import without_controls
from fedrec.training.node import prepare
from server.checkpoint import Best
from server.journal import Line


def write_outcome(
    config: Config,
    population: Population,
    files: RunDirectory,
    chosen: Best,
    sums: EvaluationSums,
    lines: list[Line],
    privacy: dict[str, Any],
    robust: dict[str, Any],
) -> None:
    """Write everything that the end of a run leaves behind.

    Args:
        config: of the run.
        population: sizes and training popularity.
        files: where to write.
        chosen: the selected round and its parameters.
        sums: test sums of the selected round.
        lines: of rounds.jsonl.
        privacy: what the run may claim.
        robust: attack and defence of the run; empty without.

    Raises:
        OutputError: if the directory cannot be written.
    """
    metrics, ci95 = summarise(config, population, sums, "test")
    valid = next((line["valid"] for line in lines if line["round"] == chosen.round_number), None)
    system = {
        "name": system_name(config),
        "kind": "federated",
        "seed": config.run.seed,
        "selected_round": chosen.round_number,
        "metrics": {"test": metrics, "valid": nest(valid or {})},
        "ci95": ci95,
        "privacy": with_setting(privacy, config),
        "robust": robust,
        "cost": cost(lines),
        "history": files.rounds.name,
        "bootstrap": files.bootstrap.name,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **to_arrays(sums))
    replace_file(files.bootstrap, buffer.getvalue())
    dataset, counts = population.split.dataset, population.item_counts
    model = prepare(config).model
    shared, _ = without_controls(chosen.shared)
    export_model(files.model, config, dataset, shared, system, counts, model)
    replace_file(files.system, (json.dumps(system, indent=1) + "\n").encode())


def cost(lines: list[Line]) -> dict[str, Any]:
    """Return what a round costs, without evaluation and checkpoints.

    Args:
        lines: of rounds.jsonl.

    Returns:
        "round_s_median", "clients_per_s" (medians over rounds), bytes up and down
        per client and round (means), "peak_rss_mib" of the server's process, which
        is that of all nodes when they run in it, and "total_s".
    """
    active = [line for line in lines if line["clients"]]
    if not active:
        return {"peak_rss_mib": round(peak_memory_mib(), 1)}
    seconds = [sum(line["phases"][p] for p in ("sample", "train", "aggregate")) for line in active]
    clients = sum(line["clients"] for line in active)
    pairs = zip(active, seconds, strict=True)
    return {
        "round_s_median": median(seconds),
        "clients_per_s": median(line["clients"] / max(s, 1e-9) for line, s in pairs),
        "bytes_up_per_client": round(sum(line["bytes_up"] for line in active) / clients),
        "bytes_down_per_client": round(sum(line["bytes_down"] for line in active) / clients),
        "peak_rss_mib": round(peak_memory_mib(), 1),
        "total_s": sum(line["seconds"] for line in lines),
    }
