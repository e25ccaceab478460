"""Do views and carts help to rank what is bought, and do the heads of several tasks help?

    python experiments/multitask.py [--only NAME ...] [--json FILE]

The committed figures come from --json experiments/results/multitask.json, which is also read:
what it holds already is not run again.

Every system is experiments/multitask.toml with the keys that are named.  `TRIALS` settings of
each are tried with seed 0 and judged by validation NDCG@10 of purchases: those of the file,
and random ones of its space.  The best is run with three seeds, and its test part is read
then.  All systems of one part ("users" or "merchants" as clients) rank the same held-out
purchases, so their differences are paired over users: against the system named first, with
Holm's correction over the part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.board.entries import Choices, Keys, Space
from experiments.board.search import Trial, best, propose
from fedrec.config import Config, load_config
from fedrec.errors import FedrecError
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.systems import read_sums, seeds_of, train_system, write_sums

FILE = Path(__file__).parent / "multitask.toml"
TRIALS, SEEDS = 6, (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")

ONE_TASK: Keys = {
    "model.name": "shared-bottom",
    "model.funnel": False,
    "model.task_weights": "0 0 1",
    "split.train_event": "purchase",
}
MF: Keys = {"model.name": "mf", "model.funnel": False}
PLAIN_HEADS: Keys = {"model.funnel": False}
BOTTOM: Keys = {"model.name": "shared-bottom"}
OF_MERCHANTS: Keys = {"clients.unit": "merchant"}

RATES: dict[str, tuple[Any, ...]] = {
    "train.personal_lr": (0.02, 0.05, 0.1),
    "train.l2": (0.003, 0.01, 0.03, 0.1),
    "server.table_lr": (0.01, 0.03, 0.1),
}
WEIGHTS: dict[str, tuple[Any, ...]] = {"server.weight_lr": (0.001, 0.003, 0.01)}
TASKS: dict[str, tuple[Any, ...]] = {
    "model.task_weights": ("1 1 1", "1 0.3 0.3", "0.3 0.3 1"),
}
CENTRAL: dict[str, tuple[Any, ...]] = {
    "central.lr": (0.001, 0.003, 0.01),
    "central.l2": (0.0, 0.003, 0.01, 0.03, 0.1),
}


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        part: which systems it is compared with, those of the same clients.
        kind: as `train_system` calls it.
        keys: on top of the file.
        searched: key -> values.
    """

    part: str
    kind: str
    keys: Keys
    searched: dict[str, tuple[Any, ...]]

    @cached_property
    def base(self) -> Config:
        """Its configuration before the search."""
        return load_config(FILE, self.keys)

    @property
    def space(self) -> Space:
        """What is searched, the file's own values among it."""
        own = self.base.flat()
        return {k: Choices(tuple(dict.fromkeys([own[k], *v]))) for k, v in self.searched.items()}


def _users(kind: str, keys: Keys, *searched: dict[str, tuple[Any, ...]]) -> System:
    return System("users", kind, keys, {k: v for part in searched for k, v in part.items()})


def _merchants(keys: Keys, *searched: dict[str, tuple[Any, ...]]) -> System:
    own = {k: v for part in searched for k, v in part.items()}
    return System("merchants", "federated", {**OF_MERCHANTS, **keys}, own)


SYSTEMS: dict[str, System] = {
    "MMoE, funnel": _users("federated", {}, RATES, WEIGHTS, TASKS),
    "MMoE": _users("federated", PLAIN_HEADS, RATES, WEIGHTS, TASKS),
    "shared bottom, funnel": _users("federated", BOTTOM, RATES, WEIGHTS, TASKS),
    "the same network, purchases alone": _users("federated", ONE_TASK, RATES, WEIGHTS),
    "MF, all events": _users("federated", MF, RATES),
    "MMoE, funnel, centralised": _users("centralised", {}, CENTRAL, TASKS),
    "shared bottom, funnel, centralised": _users("centralised", BOTTOM, CENTRAL, TASKS),
    "purchases alone, centralised": _users("centralised", ONE_TASK, CENTRAL),
    "MF, all events, centralised": _users("centralised", MF, CENTRAL),
    "popularity": _users("popularity", MF),
    "popularity of purchases": _users("popularity", {**MF, "split.train_event": "purchase"}),
    "heads of merchants": _merchants({"model.local_heads": "true"}, RATES, WEIGHTS, TASKS),
    "shared heads": _merchants({"model.local_heads": "false"}, RATES, WEIGHTS, TASKS),
    "MF": _merchants(MF, RATES),
}
"""Name -> system; the first of each part is what the others are compared with."""


def validate(system: System, settings: Keys) -> float:
    """Train with seed 0 and return validation NDCG@10; nothing of the test part is kept."""
    lean: Keys = {"evaluate.bootstrap": 0, "evaluate.sampled": 0, "run.seed": 0}
    config = system.base.with_({**settings, **lean})
    config = config.with_({"server.checkpoint_every": config.train.rounds})
    with tempfile.TemporaryDirectory() as place:
        train_system(system.kind, config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
    return float(left["metrics"]["valid"]["full"]["ndcg@10"])


def search(name: str, done: list[Trial], budget: int = TRIALS) -> list[Trial]:
    """Return the trials of a system, those that are missing of a budget made."""
    system = SYSTEMS[name]
    space, base = system.space, system.base.flat()
    while space and len(done) < budget:
        settings, sampler = propose(space, done, base)
        if settings is None:
            break
        start, value, failure = time.perf_counter(), None, ""
        try:
            value = validate(system, settings)
        except FedrecError as error:
            failure = str(error)
        done = [
            *done,
            Trial(settings, value, round(time.perf_counter() - start, 1), sampler, failure),
        ]
        print(f"{name}: {value} with {settings}", flush=True)
    return done


def finals(name: str, settings: Keys) -> tuple[dict[str, Any], EvaluationSums]:
    """Run a system with its settings and every seed; return its figures and merged test sums."""
    system, sums, left = SYSTEMS[name], [], []
    for seed in seeds_of(system.kind, SEEDS):
        config = system.base.with_({**settings, "run.seed": seed, "evaluate.sampled": 0})
        with tempfile.TemporaryDirectory() as place:
            train_system(system.kind, config, Path(place), "in-process", lambda event: None)
            left.append(json.loads((Path(place) / "system.json").read_text(encoding="utf-8")))
            sums.append(read_sums(Path(place) / "test_sums.npz"))
    merged = merge(sums)
    ends, mean = intervals(merged), means(merged)
    told = {
        "seeds": len(left),
        "valid": [one["metrics"]["valid"]["full"]["ndcg@10"] for one in left],
        "selected_round": [one["selected_round"] for one in left],
        "test": {m: mean[m] for m in METRICS},
        "ci95": {m: list(ends[m]) for m in METRICS},
    }
    return told, merged


def compared(sums: dict[str, EvaluationSums]) -> dict[str, dict[str, Any]]:
    """Return each system's paired difference from the first of its part."""
    found: dict[str, dict[str, Any]] = {}
    for part in dict.fromkeys(system.part for system in SYSTEMS.values()):
        names = [n for n, s in SYSTEMS.items() if s.part == part and n in sums]
        if len(names) < 2:
            continue
        others = {name: sums[name] for name in names[1:]}
        for metric in METRICS:
            for name, pair in compare_all(sums[names[0]], others, metric).items():
                ends = [pair.difference, pair.low, pair.high, pair.p_value]
                found.setdefault(name, {})[metric] = ends
    return found


def main() -> None:
    """Search and run the chosen systems, and write JSON after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--json", type=Path, required=True, help="figures, read and written")
    parser.add_argument("--work", type=Path, default=Path("runs/multitask"), help="test sums")
    options = parser.parse_args()
    told = _read(options.json)
    for name in options.only:
        base, own = SYSTEMS[name].base.config_hash(), told["systems"].get(name, {})
        if own.get("base") != base:  # of a file that says otherwise now
            own = {"base": base, "trials": []}
        told["systems"][name] = own
        for budget in range(1, TRIALS + 1):
            done = search(name, [Trial(**trial) for trial in own["trials"]], budget)
            own["trials"] = [asdict(trial) for trial in done]
            _write(told, options.json)
        settings = best(done).settings if done else {}
        sums = options.work / f"{name}.npz"
        if own.get("settings") != settings or not sums.is_file():
            figures, merged = finals(name, settings)
            part = SYSTEMS[name].part
            told["systems"][name] = {"part": part, **own, "settings": settings, **figures}
            options.work.mkdir(parents=True, exist_ok=True)
            write_sums(sums, merged)
            print(f"{name}: test {figures['test']}", flush=True)
            _write(told, options.json)
    known = {n: options.work / f"{n}.npz" for n in SYSTEMS}
    told["differences"] = compared({n: read_sums(f) for n, f in known.items() if f.is_file()})
    _write(told, options.json)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {"systems": {}}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _write(told: dict[str, Any], file: Path) -> None:
    ordered = {name: told["systems"][name] for name in SYSTEMS if name in told["systems"]}
    told = {**told, "systems": ordered, "machine": describe_machine()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(told, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
