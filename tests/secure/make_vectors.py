"""Write the sessions of tests/secure/vectors: python -m tests.secure.make_vectors."""

import json
from pathlib import Path

import numpy as np

from fedrec.secure import simulate
from fedrec.secure.simulate import SeededEntropy

VECTORS = Path(__file__).parent / "vectors"
CASES = {
    "three_semi_honest": ("semi-honest", 3, 5, None, None, {}, 2**16),
    "five_with_losses": ("semi-honest", 5, 4, 3, None, {1: "mask", 3: "unmask"}, 2**16),
    "early_losses": ("semi-honest", 6, 3, 3, None, {0: "advertise", 4: "share"}, 2**40),
    "malicious_server": ("malicious-server", 5, 3, 3, None, {2: "mask", 4: "consistency"}, 2**20),
    "sparse_graph": ("semi-honest", 8, 6, 3, 4, {5: "mask"}, 2**16),
    "packed": ("semi-honest", 4, 9, None, None, {2: "mask"}, 2**8),
    "packed_wide": ("malicious-server", 4, 7, None, None, {1: "share"}, 2**37),
    "modular": ("semi-honest", 4, 5, None, None, {3: "mask"}, 2**32),
    "modular_packed": ("semi-honest", 3, 11, None, None, {}, 2**13),
}
RINGS = {"packed": (10, False), "packed_wide": (39, False)}
RINGS |= {"modular": (32, True), "modular_packed": (13, True)}
"""Width of the ring, and whether sums may wrap around; of the others 32 or 64, and no."""


def make(name: str) -> dict:
    """Run one session and note everything that was drawn and sent."""
    mode, n, m, threshold, neighbours, drops, top = CASES[name]
    inputs = np.random.default_rng(len(name)).integers(0, top, (n, m), dtype=np.uint64)
    inputs[0, 0] = top - 1
    width, modular = RINGS.get(name, (32 if n * (top - 1) < 2**32 else 64, False))
    drawn: dict[bytes, list[str]] = {}
    original = SeededEntropy.__call__

    def noted(self: SeededEntropy, size: int) -> bytes:
        raw = original(self, size)
        drawn.setdefault(self._key, []).append(raw.hex())
        return raw

    SeededEntropy.__call__ = noted  # type: ignore[method-assign]
    try:
        result = simulate(
            inputs,
            threshold=threshold,
            neighbours=neighbours,
            mode=mode,
            drops=drops,
            seed=1,
            width=width,
            modular=modular,
        )
    finally:
        SeededEntropy.__call__ = original  # type: ignore[method-assign]
    bound = None if modular else top - 1
    return {
        "mode": mode,
        "round": 1,
        "threshold": result.threshold,
        "neighbours": result.neighbours,
        "vector": {"name": "input", "length": m, "width": width, "bound": bound},
        "inputs": inputs.tolist(),
        "drops": {str(i): stage for i, stage in drops.items()},
        "draws": [drawn[SeededEntropy(1, i)._key] for i in range(n)],
        "server_draws": drawn[SeededEntropy(1, 2**32 - 1)._key],
        "messages": [
            [s.stage, s.sender, s.receiver, s.message.hex()] for s in result.transcript if s.message
        ],
        "total": result.total.tolist(),
        "survivors": list(result.survivors),
    }


if __name__ == "__main__":
    VECTORS.mkdir(exist_ok=True)
    for case in CASES:
        (VECTORS / f"{case}.json").write_text(json.dumps(make(case), indent=1) + "\n")
