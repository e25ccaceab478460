"""Compare fedrec with other simulators on the benchmark's workloads, side by side.

    python experiments/peers/compare.py [W1 W2 W3] [--peers NAME ...] [--json FILE]

The committed figures come from --json experiments/results/bench/peers.json.

Every simulator gets the same arrays: samples in the same batches, initial parameters,
and clients of each round.  Each runs in a process of its own, by the interpreter of an
environment of its own that is made at the first use under --environments; none is a
dependency of fedrec.  The passes of all simulators alternate, so that other work on the
machine meets all of them, and the fastest round after the first counts.  The mean update
of the first round is compared with that of fedrec: ||theirs - ours|| / ||ours||.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.bench.export import export_workload, read_export
from fedrec.bench.workloads import find_workload
from fedrec.machine import describe_machine

HERE = Path(__file__).parent
OURS = "fedrec"


@dataclass(frozen=True)
class Peer:
    """Another simulator.

    Attributes:
        runner: file beside this one.
        packages: what its environment needs.
        workloads: those that it gets through in bearable time.
        rounds: rounds of a pass, the first for warming up.
        limit: seconds of a pass, after which it is given up.
    """

    runner: str
    packages: tuple[str, ...]
    workloads: tuple[str, ...] = ("W1", "W2", "W3")
    rounds: int = 6
    limit: int = 600


PEERS = {
    OURS: Peer("fedrec_rounds.py", (), rounds=12),
    "FedJAX": Peer("fedjax_rounds.py", ("fedjax==0.0.17", "jax==0.10.2")),
    "pfl-research": Peer("pfl_rounds.py", ("pfl==0.6.0", "torch==2.14.1"), rounds=3),
    "Flower, Ray": Peer(
        "flower_rounds.py",
        ("flwr[simulation]>=1.41,<1.43", "tensorflow==2.21.0"),
        workloads=("W1", "W2"),
        rounds=3,
    ),
}


def interpreter(name: str, environments: Path) -> str:
    """Return the Python of a peer's environment, made if it is not there."""
    peer = PEERS[name]
    if not peer.packages:
        return sys.executable
    place = environments / peer.runner.removesuffix(".py")
    python, stamp = place / "bin" / "python", place / "complete"
    wanted = "\n".join(peer.packages)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"{name}: installing {', '.join(peer.packages)} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *peer.packages]
        subprocess.run(install, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def one_pass(name: str, python: str, work: Path, place: Path) -> dict[str, Any] | str:
    """Run a peer once; returns its answer, or why there is none."""
    peer, file = PEERS[name], place / "answer.npz"
    file.unlink(missing_ok=True)
    command = [python, str(HERE / peer.runner), str(work), str(file), str(peer.rounds)]
    log = place / "log.txt"
    with log.open("w", encoding="utf-8") as out:
        try:
            subprocess.run(command, stdout=out, stderr=out, timeout=peer.limit, check=True)
        except subprocess.TimeoutExpired:
            return f"more than {peer.limit} s"
        except subprocess.CalledProcessError:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"failed: {lines[-1] if lines else 'no message'}"
    with np.load(file) as saved:
        return {key: saved[key] for key in saved.files}


def difference(answer: dict[str, Any], arrays: dict[str, Any]) -> float:
    """Return the largest relative error of a mean update, over table and weights."""
    table = np.zeros(answer["table"].shape)
    table[arrays["update_ids"]] = arrays["update_rows"]
    pairs = [(answer["table"], table)]
    for name in answer:
        if name.startswith("weights/"):
            pairs.append((answer[name], arrays[f"update_{name}"]))
    return max(
        float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours)) for theirs, ours in pairs
    )


def measure(workload: str, names: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all peers on one workload."""
    figures: dict[str, Any] = {}
    pythons = {name: interpreter(name, given.environments) for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        work = place / "work.npz"
        export_workload(find_workload(workload), work)
        arrays, hyper = read_export(work)
        for _ in range(given.passes):
            for name in names:
                if workload in PEERS[name].workloads and "error" not in figures.get(name, {}):
                    _add(figures, name, one_pass(name, pythons[name], work, place), arrays)
    clients = int(hyper["per_round"])
    for name, found in figures.items():
        if "error" not in found:
            found["clients_per_s"] = round(clients / found["round_s"], 1)
            ours = figures.get(OURS, {}).get("round_s")
            found["times_slower"] = round(found["round_s"] / ours, 1) if ours else None
        print(f"{workload} {name}: {found}", flush=True)
    return figures


def _add(figures: dict[str, Any], name: str, got: dict[str, Any] | str, arrays: Any) -> None:
    if isinstance(got, str):
        figures[name] = {"error": got}
        return
    rounds = got["seconds"][1:].tolist()
    before = figures.get(name, {})
    every = [*before.get("rounds_s", []), *(round(second, 5) for second in rounds)]
    figures[name] = {
        "round_s": min(every),
        "median_s": round(float(np.median(every)), 5),
        "first_round_s": round(float(got["seconds"][0]), 3),
        "update_error": float(f"{difference(got, arrays):.2g}"),
        "versions": json.loads(str(got["versions"])),
        "rounds_s": every,
    }


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["W1", "W2", "W3"])
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    cache = Path.home() / ".cache" / "fedrec" / "peers"
    parser.add_argument("--environments", type=Path, default=cache)
    given = parser.parse_args()
    figures = {w.upper(): measure(w.upper(), given.peers, given) for w in given.workloads}
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"machine": describe_machine(), "workloads": figures}
        given.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
