"""Noise of the clients inside the secure sum, noise of the server, and none.

    python experiments/distributed.py [--out DIRECTORY]

Trains experiments/distributed.toml as it stands; with `privacy.mechanism = "central"` at
the same epsilon, in the clear; and in the clear with the same clipping and no noise; each
with all seeds.  All go into one `result.json`.  A second start keeps what is finished.
Secure runs have intervals but no bootstrap replicates, so nothing is paired.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fedrec.config import Config, Scalar, integers, load_config
from fedrec.results import Result, SystemResult, save_result
from fedrec.run import make_result, read_system
from fedrec.storage import RunDirectory
from fedrec.systems import train_system

EXPERIMENT = Path(__file__).resolve().parent / "distributed.toml"
CLEAR: Mapping[str, Scalar] = {"privacy.mechanism": "central", "secure.mode": "off"}
SYSTEMS: dict[str, Mapping[str, Scalar]] = {
    "distributed": {},
    "central": CLEAR,
    "no noise": {**CLEAR, "privacy.epsilon": 0.0},
}


def trained(name: str, config: Config, seed: int, out: Path) -> SystemResult:
    """Train one system with one seed, unless it is there."""
    place = out / "systems" / f"{name.replace(' ', '-')}-seed{seed}"
    own = config.with_({**SYSTEMS[name], "run.seed": seed})
    if not RunDirectory(place).system.is_file():
        train_system("federated", own, place, "in-process", lambda event: None)
    system = read_system(place, f"{place.relative_to(out).as_posix()}/")
    return replace(system, name=name)


def measure(config: Config, out: Path) -> Result:
    """Train everything, print what came out, and write result.json."""
    start, members = time.perf_counter(), []
    for seed in integers(config, "compare.seeds"):
        for name in SYSTEMS:
            members.append(trained(name, config, seed, out))
            told, privacy = members[-1].flat_metrics(), members[-1].privacy
            print(
                f"{name}, seed {seed}: HR@10 {told['test.full.hr@10']:.4f}, "
                f"NDCG@10 {told['test.full.ndcg@10']:.4f}, epsilon {privacy['epsilon']}, "
                f"noise multiplier {privacy['noise_multiplier']}",
                flush=True,
            )
    members.sort(key=lambda member: list(SYSTEMS).index(member.name))
    seconds = time.perf_counter() - start
    command = "python experiments/distributed.py"
    result = make_result(config, tuple(members), command=command, seconds=seconds)
    save_result(result, out)
    return result


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("runs/distributed"))
    options = parser.parse_args()
    measure(load_config(EXPERIMENT), options.out)


if __name__ == "__main__":
    main()
