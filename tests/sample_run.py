"""A made-up comparison, written to disk as `fedrec compare` would: figures are invented."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fedrec.results import Paired, Result, SystemResult, save_result

PRIVATE = {
    "statement": "not private: updates reach the server in the clear; raw interactions stay local",
    "unit": "user",
    "epsilon": None,
    "delta": None,
    "secure_aggregation": "off",
}
POOLED = {"statement": "not private: all interactions are pooled at one place", "unit": "none"}


def metrics(hr: float, ndcg: float) -> dict[str, Any]:
    """Nested metrics around a full-ranking HR@10 and NDCG@10."""
    full = {
        "hr@5": 0.6 * hr,
        "hr@10": hr,
        "ndcg@10": ndcg,
        "recall@20": 1.7 * hr,
        "mrr@10": 0.8 * ndcg,
    }
    sampled = {"hr@10": 4.2 * hr + 0.12, "ndcg@10": 4.6 * ndcg + 0.08}
    beyond = {"coverage@10": 0.2 + hr, "novelty@10": 9.1 - 10 * hr, "popularity@10": 0.94 - hr}
    return {
        "test": {"full": full, "sampled99": sampled, "beyond": beyond},
        "valid": {"full": {k: 1.04 * v for k, v in full.items()}},
    }


def system(name: str, kind: str, seed: int, hr: float, ndcg: float, **more: Any) -> SystemResult:
    """A system with intervals on its main test metrics."""
    nested = metrics(hr, ndcg)
    ci = {
        f"test.{protocol}.{m}": (value - width, value + width)
        for protocol, width in (("full", 0.021), ("sampled99", 0.031))
        for m, value in nested["test"][protocol].items()
    }
    privacy = PRIVATE if kind in ("federated", "local-only") else POOLED
    return SystemResult(name, kind, seed, metrics=nested, ci95=ci, privacy=privacy, **more)


def history(rounds: int, seed: int, top: float) -> list[dict[str, Any]]:
    """Lines of rounds.jsonl whose validation metric saturates at `top`."""
    lines = []
    for r in range(1, rounds + 1):
        wobble = 0.002 * math.sin(1.7 * r + seed)
        valid = {"full.ndcg@10": top * (1 - math.exp(-r / 12)) + wobble, "full.hr@10": 2 * top}
        lines.append(
            {
                "round": r,
                "loss": 0.25 + 0.45 * math.exp(-r / 15) + 0.004 * math.sin(r * 3 + seed),
                "clients": 943 - (r % 7),
                "dropped": r % 7,
                "failed_nodes": ["node 3: connection lost"] if r == 9 and seed == 1 else [],
                "skipped": None,
                "seconds": 0.52 if r > 1 else 6.1,
                "phases": {
                    "sample": 0.004,
                    "train": 0.41,
                    "aggregate": 0.03,
                    "evaluate": 0.06,
                    "checkpoint": 0.016,
                },
                "bytes_up": 943 * 12_600,
                "bytes_down": 943 * 215_296,
                "valid": valid if r % 5 == 0 else None,
            }
        )
    return lines


def sample_result() -> Result:
    """Six systems, three seeds of the trained ones, on the sizes of ML-100K."""
    cost = {
        "round_s_median": 0.52,
        "clients_per_s": 1813.0,
        "bytes_up_per_client": 12_600,
        "bytes_down_per_client": 215_296,
        "peak_rss_mib": 1430.0,
        "total_s": 38.2,
    }
    systems = []
    for seed in (0, 1, 2):
        shift = 0.002 * (seed - 1)
        systems.append(
            system(
                "federated-mf",
                "federated",
                seed,
                0.118 + shift,
                0.0616 + shift / 2,
                selected_round=50,
                cost=cost,
                history=f"federated-mf-seed{seed}/rounds.jsonl",
            )
        )
    for seed in (0, 1, 2):
        shift = 0.001 * (seed - 1)
        systems.append(
            system(
                "centralised-mf",
                "centralised",
                seed,
                0.123 + shift,
                0.0637 + shift / 2,
                selected_round=18,
                cost={"total_s": 21.0, "peak_rss_mib": 1390.0},
            )
        )
    systems += [
        system("local-only", "local-only", 0, 0.011, 0.0049, cost={"total_s": 12.0}),
        system("popularity", "baseline", 0, 0.082, 0.039, cost={"total_s": 0.02}),
        system("ease", "baseline", 0, 0.129, 0.066, cost={"total_s": 1.1}),
        system("ials", "baseline", 0, 0.128, 0.061, cost={"total_s": 2.4}),
    ]
    metric = "test.full.hr@10"
    comparisons = [
        Paired("federated-mf", "centralised-mf", metric, -0.005, -0.017, 0.007, 0.41, 0.82),
        Paired("federated-mf", "local-only", metric, 0.107, 0.088, 0.127, 0.0001, 0.0005),
        Paired("federated-mf", "popularity", metric, 0.036, 0.017, 0.056, 0.0004, 0.0016),
        Paired("federated-mf", "ease", metric, -0.011, -0.026, 0.004, 0.15, 0.45),
        Paired("federated-mf", "ials", metric, -0.010, -0.025, 0.005, 0.2, 0.45),
    ]
    return Result(
        name="quickstart",
        fedrec="0.1.0",
        config_hash="5a0c1be2d9f84731",
        data={
            "name": "ml-100k",
            "users": 943,
            "items": 1682,
            "interactions": 100_000,
            "split_hash": "9f2b6c0de8a14757",
            "protocol": "leave-last-out",
        },
        systems=tuple(systems),
        comparisons=tuple(comparisons),
        leak_guard={
            "passed": True,
            "metric": "sampled99.hr@10",
            "value": 0.101,
            "random": 0.098,
            "standard_errors": 0.31,
            "limit": 3.0,
            "statement": "training without communication does not beat chance",
        },
        machine={
            "processor": "Example CPU",
            "cores": 2,
            "memory_gib": 8.0,
            "python": "3.11.9",
            "tensorflow": "2.21.0",
        },
        command="fedrec compare experiments/quickstart.toml",
        created="2025-01-01T12:00:00+00:00",
        account=(
            "100,000 rows read",
            "0 duplicates of (user, item) dropped",
            "0 ratings out of range",
        ),
        notes=("every user has at least three interactions: all 943 are evaluated",),
        config={"evaluate.select": "ndcg@10", "train.rounds": 60, "model.dim": 32},
    )


def write_sample(directory: Path) -> Result:
    """Write the sample result with its histories into a directory."""
    result = sample_result()
    directory.mkdir(parents=True, exist_ok=True)
    for member in result.systems:
        if member.history:
            file = directory / member.history
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = history(60, member.seed, 0.064 + 0.001 * member.seed)
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_result(result, directory)
    return result
