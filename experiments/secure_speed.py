"""Measure secure aggregation against the floor that its primitives set, one core.

    python experiments/secure_speed.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/secure/speed.json.

Each case runs in a process of its own: first the primitives alone (the keystream of
AES-256-CTR, the addition of a mask, X25519), then a whole session with serialisation,
signatures and tags, then the primitives again.  The floor is the time that the
primitives alone would take for the masks and agreements of that session; the ratio
says how much the protocol adds.  Gates and ratio are of processor seconds, which other
work on the machine disturbs less than the clock; both are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from fedrec.secure import simulate

CHUNK = 128 * 1024


@dataclass(frozen=True)
class Case:
    """One session.

    Attributes:
        clients: n.
        elements: m, integers below 2**16.
        neighbours: k.
        dropout: share of clients lost before they send their vector.
        seconds: gate on the processor seconds of the session.
        ratio: gate on these over the floor; None where there is none.
        width: bits of the ring, and of an element on the wire.
    """

    clients: int
    elements: int
    neighbours: int
    dropout: float
    seconds: float
    ratio: float | None = None
    width: int = 32


CASES = {
    "ml-100k": Case(100, 53_824, 32, 0.05, 1.6, 2.5),
    "packed": Case(100, 53_824, 32, 0.05, 1.6, width=23),
    "complete": Case(100, 53_824, 99, 0.10, 5.0),
    "many": Case(1_000, 53_824, 48, 0.10, 25.0),
    "large": Case(100, 3_200_000, 32, 0.0, 18.0, 1.6),
}


def masks_and_agreements(case: Case) -> tuple[float, float]:
    """Count what the session cannot do without, in expectation over the graph.

    Returns:
        Masks: of each surviving client, and those that the server takes off; agreements:
        one for each pair of neighbours and purpose, and those of the server for lost clients.
    """
    n, k = case.clients, case.neighbours
    lost = round(case.dropout * n)
    left = n - lost
    recovered = lost * k * left / (n - 1)
    pairs = n * k / 2
    with_a_survivor = pairs * (1 - lost * (lost - 1) / (n * (n - 1)))
    return left * (k + 1) + left + recovered, pairs + with_a_survivor + recovered


def primitive_seconds(elements: int) -> dict[str, float]:
    """Time one mask of this length (keystream, then addition) and one agreement."""
    zeros, buffer = bytes(CHUNK), bytearray(CHUNK)
    words = np.frombuffer(buffer, np.uint32)
    total = np.zeros(len(words), np.uint32)
    stream = Cipher(AES(os.urandom(32)), CTR(bytes(16))).encryptor()
    repeats = 4000
    start = time.process_time()
    for _ in range(repeats):
        stream.update_into(zeros, buffer)
    keystream = (time.process_time() - start) / repeats
    start = time.process_time()
    for _ in range(repeats):
        np.add(total, words, out=total)
    add = (time.process_time() - start) / repeats
    secret = X25519PrivateKey.generate()
    public = X25519PrivateKey.generate().public_key()
    start = time.process_time()
    for _ in range(repeats):
        secret.exchange(public)
    agreement = (time.process_time() - start) / repeats
    chunks = 4 * elements / CHUNK
    return {"keystream": keystream * chunks, "add": add * chunks, "x25519": agreement}


def measure(name: str) -> dict[str, Any]:
    """Run one case."""
    case = CASES[name]
    generator = np.random.default_rng(0)
    shape = (case.clients, case.elements)
    inputs = generator.integers(0, 2**16, shape, dtype=np.uint32)
    lost = round(case.dropout * case.clients)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first = primitive_seconds(case.elements)
    start, cpu = time.perf_counter(), time.process_time()
    drops = dict.fromkeys(range(lost), "mask")
    result = simulate(inputs, neighbours=case.neighbours, drops=drops, width=case.width)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    second = primitive_seconds(case.elements)
    right = np.array_equal(result.total, inputs[lost:].sum(axis=0, dtype=np.uint64))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    masks, agreements = masks_and_agreements(case)
    each = {key: (first[key] + second[key]) / 2 for key in first}
    floor = masks * (each["keystream"] + each["add"]) + agreements * each["x25519"]
    return {
        "case": name,
        **asdict(case),
        "threshold": result.threshold,
        "exact": right,
        "session_s": round(seconds, 3),
        "cpu_s": round(cpu, 3),
        "floor_s": round(floor, 3),
        "over_floor": round(cpu / floor, 3),
        "floor_parts_s": {
            "keystream": round(masks * each["keystream"], 3),
            "add": round(masks * each["add"], 3),
            "x25519": round(agreements * each["x25519"], 3),
        },
        "seconds_by_stage": {k: round(v, 3) for k, v in result.seconds_by_stage.items()},
        "bytes_up_per_client": result.bytes_up // case.clients,
        "bytes_down_per_client": result.bytes_down // case.clients,
        "input_mib": round(inputs.nbytes / 2**20, 1),
        "peak_rss_above_input_mib": round(peak - before, 1),
    }


def show(figures: dict[str, Any]) -> None:
    """Print one case."""
    stages = "  ".join(f"{name} {s:.2f}" for name, s in figures["seconds_by_stage"].items())
    parts = "  ".join(f"{name} {s:.2f}" for name, s in figures["floor_parts_s"].items())
    clock = f"{figures['session_s']:.2f} s by the clock"
    within = figures["cpu_s"] <= figures["seconds"]
    print(
        f"{figures['case']}: {figures['clients']} x {figures['elements']} of "
        f"{figures['width']} bits, k = "
        f"{figures['neighbours']}, t = {figures['threshold']}, {figures['dropout']:.0%} lost\n"
        f"  session {figures['cpu_s']:.2f} s (gate {figures['seconds']:.1f}: "
        f"{'met' if within else 'missed'}; {clock})   floor {figures['floor_s']:.2f} s   "
        f"ratio {figures['over_floor']:.2f} (gate {figures['ratio'] or '-'})\n"
        f"  stages  {stages}\n  floor   {parts}\n"
        f"  bytes a client: {figures['bytes_up_per_client']:,} up, "
        f"{figures['bytes_down_per_client']:,} down; memory above the inputs "
        f"{figures['peak_rss_above_input_mib']:.0f} MiB; exact: {figures['exact']}",
        flush=True,
    )


def main() -> None:
    """Run the chosen cases, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child)))
        return
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    results = []
    for name in given.case:
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=one_core)
        results.append(json.loads(done.stdout))
        show(results[-1])
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
