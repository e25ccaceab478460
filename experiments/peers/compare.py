"""Compare fedrec with other simulators on the benchmark's workloads, side by side.

    python experiments/peers/compare.py [W1 W2 W3] [--peers NAME ...] [--json FILE]

The committed figures come from --json experiments/results/bench/peers.json.

Every simulator gets the same arrays: samples in the same batches, initial parameters,
and clients of each round.  Each runs in a process of its own, by the interpreter of an
environment of its own that is made at the first use under --environments; none is a
dependency of fedrec.  The passes of all simulators alternate, so that other work on the
machine meets all of them, and the fastest round after the first counts.  The mean update
of the first round is compared with that of fedrec: ||theirs - ours|| / ||ours||.

A simulator that fails, takes longer than its limit or would not fit into memory has no
figures; the table says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.bench.export import export_workload, read_export
from fedrec.bench.markdown_peers import markdown_peers
from fedrec.bench.workloads import find_workload
from fedrec.machine import describe_machine

HERE = Path(__file__).parent
OURS = "fedrec"
MOST_REPLIES = 4e9
ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b")


@dataclass(frozen=True)
class Peer:
    """Another simulator.

    Attributes:
        runner: file beside this one.
        packages: what its environment needs.
        rounds: rounds of a pass, the first for warming up.
        limit: seconds of a pass, after which it is given up.
        holds_replies: whether a reply holds all shared parameters and waits for the last
            one; it is not tried where those of a round are more than MOST_REPLIES bytes.
        settings: environment variables, a set for each pass in turn: where it is not known
            beforehand which of them is the fastest.
    """

    runner: str
    packages: tuple[str, ...]
    rounds: int = 6
    limit: int = 600
    holds_replies: bool = False
    settings: tuple[Mapping[str, str], ...] = ({},)


PEERS = {
    OURS: Peer("fedrec_rounds.py", (), rounds=12),
    "FedJAX": Peer("fedjax_rounds.py", ("fedjax==0.0.17", "jax==0.10.2")),
    "pfl-research": Peer(
        "pfl_rounds.py",
        ("pfl==0.6.0", "torch==2.14.1"),
        rounds=3,
        settings=({"OMP_NUM_THREADS": "1"}, {}),
    ),
    "Flower, Ray": Peer(
        "flower_rounds.py",
        ("flwr[simulation]>=1.41,<1.43", "tensorflow==2.21.0"),
        rounds=3,
        holds_replies=True,
    ),
}


def interpreter(peer: Peer, environments: Path) -> str:
    """Return the Python of a peer's environment, made if it is not there.

    Raises:
        subprocess.CalledProcessError: if it cannot be made.
    """
    if not peer.packages:
        return sys.executable
    place = environments / peer.runner.removesuffix(".py")
    python, stamp = place / "bin" / "python", place / "complete"
    wanted = "\n".join(peer.packages)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing {', '.join(peer.packages)} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *peer.packages]
        subprocess.run(install, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def unfit(peer: Peer, arrays: dict[str, Any]) -> str | None:
    """Return why a peer is not tried on a workload; None if it is."""
    shared = [v for name, v in arrays.items() if name == "table" or name.startswith("weights/")]
    clients = arrays["chosen"].shape[1]
    size = clients * sum(array.nbytes for array in shared)
    if not peer.holds_replies or size <= MOST_REPLIES:
        return None
    return f"not tried: the {clients:,} replies of a round hold {size / 1e9:.1f} GB"


def one_pass(
    peer: Peer, python: str, work: Path, place: Path, number: int = 0
) -> dict[str, Any] | str:
    """Run a peer's pass of a number; returns its answer, or why there is none."""
    file, log = place / "answer.npz", place / "log.txt"
    file.unlink(missing_ok=True)
    command = [python, str(HERE / peer.runner), str(work), str(file), str(peer.rounds)]
    env = {**os.environ, **peer.settings[number % len(peer.settings)]}
    with log.open("w", encoding="utf-8") as out:
        try:
            subprocess.run(command, stdout=out, stderr=out, env=env, timeout=peer.limit, check=True)
        except subprocess.TimeoutExpired:
            return f"more than {peer.limit} s for {peer.rounds} rounds"
        except subprocess.CalledProcessError as failed:
            text = log.read_text(encoding="utf-8", errors="replace")
            return f"failed with code {failed.returncode}: {last_words(text)}"
    if not file.is_file():
        return f"ended without an answer: {last_words(log.read_text('utf-8', 'replace'))}"
    with np.load(file) as saved:
        return {key: saved[key] for key in saved.files}


def last_words(log: str) -> str:
    """Return the line of a log that says what went wrong: its last error, or its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR_LINE.match(line)]
    return (errors or lines or ["no message"])[-1][:300]


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


def measure(workload: str, pythons: dict[str, str | None], passes: int) -> dict[str, Any]:
    """Return the figures of all peers on one workload.

    Args:
        workload: its name.
        pythons: peer -> its interpreter; None if it could not be had.
        passes: how often each of them runs.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        work = place / "work.npz"
        export_workload(find_workload(workload), work)
        arrays, hyper = read_export(work)
        for number, name in [(n, name) for n in range(passes) for name in pythons]:
            peer, python = PEERS[name], pythons[name]
            if "error" in figures.get(name, {}) and number >= len(peer.settings):
                continue
            reason = unfit(peer, arrays) if python else "its environment could not be made"
            got = reason or one_pass(peer, str(python), work, place, number)
            figures[name] = added(figures.get(name, {}), got, arrays)
            print(f"{workload} {name}: {figures[name].get('error') or 'done'}", flush=True)
    for found in figures.values():
        if "round_s" in found:
            found["clients_per_s"] = round(int(hyper["per_round"]) / found["round_s"], 1)
            ours = figures.get(OURS, {}).get("round_s")
            found["times_slower"] = round(found["round_s"] / ours, 1) if ours else None
    return figures


def added(before: dict[str, Any], got: dict[str, Any] | str, arrays: Any) -> dict[str, Any]:
    """Return the figures of a peer with one more pass, or with why there is none.

    The median is that of the faster pass; all rounds but the first stand under "passes_s".
    """
    if isinstance(got, str):
        return {**before, "error": got}
    rounds = [round(second, 5) for second in got["seconds"][1:].tolist()]
    passes = [*before.get("passes_s", []), rounds]
    error = float(f"{difference(got, arrays):.2g}")
    return {
        "round_s": min(min(one) for one in passes),
        "median_s": round(min(float(np.median(one)) for one in passes), 5),
        "first_round_s": round(float(got["seconds"][0]), 3),
        "update_error": max(before.get("update_error", 0.0), error),
        "versions": json.loads(str(got["versions"])),
        "passes_s": passes,
    }


def environments_of(names: list[str], place: Path) -> dict[str, str | None]:
    """Return peer -> its interpreter; None, said on the screen, where it cannot be had."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = interpreter(PEERS[name], place)
        except subprocess.CalledProcessError as failed:
            print(f"{name}: {failed}", flush=True)
            found[name] = None
    return found


def aligned(text: str) -> str:
    """Return Markdown whose tables have cells of equal width, to be read on a screen."""
    lines = text.splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    widths = [max(len(cell.strip()) for cell in column) for column in zip(*rows, strict=True)]
    shown = []
    for line in lines:
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            first, *others = [f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)]
            line = "  ".join([f"{first.strip():<{widths[0]}}", *others])
        if not line.startswith("|---"):
            shown.append(line)
    return "\n".join(shown)


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
    names = [find_workload(name.upper()).name for name in given.workloads]
    pythons = environments_of(given.peers, given.environments)
    figures: dict[str, Any] = {}
    for name in names:
        figures[name] = measure(name, pythons, given.passes)
        if given.json:  # after each workload: all of them take long
            given.json.parent.mkdir(parents=True, exist_ok=True)
            told = {"machine": describe_machine(), "workloads": figures}
            given.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(aligned(markdown_peers(figures)))


if __name__ == "__main__":
    main()
