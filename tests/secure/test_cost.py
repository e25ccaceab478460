"""Time, memory and bytes of a session, and the floor that the benchmark compares with."""

import sys
import time
import tracemalloc

import numpy as np
import pytest

from experiments import secure_speed
from fedrec.secure import agreement, host, keyring, masks, recovery, simulate


def test_the_benchmark_counts_the_masks_and_agreements_of_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a complete graph the expectation over the graph is the number itself."""
    counted = {"masks": 0, "agreements": 0}

    def add_masks(vector: np.ndarray, plus: list, minus: list) -> None:
        counted["masks"] += len(plus) + len(minus)
        masks.add_masks(vector, plus, minus)

    def exchange(secret: object, public: object) -> bytes:
        counted["agreements"] += 1
        return agreement.exchange(secret, public)  # type: ignore[arg-type]

    monkeypatch.setattr(keyring, "add_masks", add_masks)
    monkeypatch.setattr(recovery, "add_masks", add_masks)
    monkeypatch.setattr(host, "exchange", exchange)
    monkeypatch.setattr(recovery, "exchange", exchange)
    case = secure_speed.Case(20, 10, 19, 0.1, 1.0)
    simulate(np.ones((20, 10), np.uint32), neighbours=19, drops={0: "mask", 1: "mask"})
    assert counted == dict(
        zip(("masks", "agreements"), secure_speed.masks_and_agreements(case), strict=True)
    )


def test_masks_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 clients x 100,000 words are 12 MB; a client's message is 0.4 MB."""
    monkeypatch.setattr(sys.modules["fedrec.secure.simulate"], "KEPT_BYTES", 0)
    inputs = np.full((30, 100_000), 7, np.uint32)
    tracemalloc.start()
    total = simulate(inputs, neighbours=10).total
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total == 210).all()
    assert peak < 4 * 10**6


def test_a_session_of_a_hundred_is_fast() -> None:
    """Measured at 0.6 s of one core; the bound is loose for slow and busy machines."""
    inputs = np.random.default_rng(0).integers(0, 2**16, (100, 53_824), dtype=np.uint32)
    start = time.process_time()
    result = simulate(inputs, neighbours=32, drops=dict.fromkeys(range(5), "mask"))
    assert time.process_time() - start < 4
    assert np.array_equal(result.total, inputs[5:].sum(axis=0, dtype=np.uint64))
    vector = 4 * inputs.shape[1]
    assert result.bytes_up < 100 * 1.05 * vector
