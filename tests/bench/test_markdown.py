"""The benchmark's figures as Markdown; all figures are invented."""

from fedrec.bench.markdown import (
    markdown_curves,
    markdown_estimates,
    markdown_secure,
    markdown_sharding,
    markdown_workloads,
)
from fedrec.bench.stopwatch import PHASES

FIGURES = {
    "about": "a workload",
    "round_s_median": 0.0334,
    "clients_per_s": 2994.0,
    "samples_per_s": 1_544_000.0,
    "ratio_to_centralised": 1.153,
    "ratio_to_floor": 19.04,
    "compile_s": 2.51,
    "first_round_s": 4.4,
    "peak_rss_mib": 812.4,
    "samples": 50_000,
    "phases": dict(zip(PHASES, (0.001, 0.002, 0.02, 0.0, 0.006, 0.004, 0.04), strict=True)),
}


def test_workloads_stand_beside_what_is_promised() -> None:
    w1 = {**FIGURES, "round_drawn_s_median": 0.05, "flower": {"round_s_median": 0.07}}
    text = markdown_workloads({"W1": w1, "W4": FIGURES, "machine": {}})
    lines = text.splitlines()
    assert lines[2] == (
        "| W1: a workload | 0.033 | 2,994 | 1,544,000 | 1.15 (1.2) | 19.0 | 2.5 s (15) | 4 s | "
        "812 MiB |"
    )
    assert "| 0.033 (6) |" in lines[3]
    assert "| 812 MiB (12,288) |" in lines[3]
    assert "| W1 | 0.001 | 0.002 | 0.020 | 0.000 | 0.006 | 0.004 | 0.040 |" in lines
    assert lines[-1].endswith("0.050 s a round; the whole run through Flower's messages in one "
                              "process: 0.070 s.")  # fmt: skip


def test_without_w1_nothing_is_said_of_flower() -> None:
    assert "Flower" not in markdown_workloads({"W3": FIGURES})


def test_curves_tell_the_cost_of_a_sample() -> None:
    text = markdown_curves({"items": {"1000000": FIGURES}, "clients": {"300": FIGURES}})
    assert "| 1,000,000 | 50,000 | 0.033 | 0.67 | 0.020 | 0.006 | 0.004 |" in text
    assert "| clients | samples |" in text


def test_speed_ups_are_over_the_same_engine() -> None:
    runs = [
        {"engine": e, "threads": t, "nodes": n, "round_s_median": s, "node_bytes_down": n << 20,
         "node_bytes_up": n << 19}
        for e, t, n, s in (("in-process", 0, 1, 4.0), ("ray", 1, 1, 6.0), ("ray", 1, 2, 3.0),
                           ("ray", 0, 2, 4.0))
    ]  # fmt: skip
    lines = markdown_sharding(runs).splitlines()
    assert lines[3] == "| ray | 1 | 1 | 6.00 | 1.00 | 1.00 MiB | 0.50 MiB |"
    assert lines[4] == "| ray | 1 | 2 | 3.00 | 2.00 | 2.00 MiB | 1.00 MiB |"
    assert lines[5] == "| ray | all | 2 | 4.00 | 1.00 | 2.00 MiB | 1.00 MiB |"


def test_sessions_stand_beside_their_gates() -> None:
    case = {"clients": 1000, "elements": 53824, "neighbours": 48, "dropout": 0.1, "cpu_s": 7.081,
            "seconds": 25.0, "over_floor": 1.809, "ratio": None,
            "bytes_up_per_client": 2 << 20, "bytes_down_per_client": 1 << 19}  # fmt: skip
    assert markdown_secure([case]).splitlines()[2] == (
        "| 1,000 | 53,824 | 32 | 48 | 10% | 7.08 s (25) | 1.81 | 2.00 MiB, 0.50 MiB |"
    )
    assert "| 53,824 | 23 | 48 |" in markdown_secure([{**case, "width": 23}])
    assert "| 1.81 (2.5) |" in markdown_secure([{**case, "ratio": 2.5}])


def test_estimates_stand_beside_what_was() -> None:
    one = {"foretold": 12.0, "real": 10.0, "error": 0.2}
    size = {"foretold": 3 * 2.0**20, "real": 4 * 2.0**20, "error": -0.25}
    names = ("seconds", "rounds_s", "memory_mib")
    sizes = {"bytes_up": size, "bytes_down": size}
    text = markdown_estimates({"W1": {**dict.fromkeys(names, one), **sizes}})
    assert text.splitlines()[2] == (
        "| W1 | 12.0, was 10.0 (+20%) | 12.0, was 10.0 (+20%) | 12, was 10 (+20%) | "
        "3.0, was 4.0 (-25%) | 3.0, was 4.0 (-25%) |"
    )
