"""The scripts behind the tables of methods: small, but real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import (
    adapters,
    closed_form,
    customer_ease,
    multitask,
    private_ease,
    regularisers,
    silo_methods,
    store_prices,
)
from experiments.tables_methods import (
    adapters_table,
    closed_form_table,
    customer_ease_table,
    multitask_table,
    private_ease_table,
    regularisers_table,
    silo_methods_table,
    store_prices_table,
)
from fedrec.config import load_config

SMALL: dict[str, Any] = {
    "data.users": 60,
    "data.items": 40,
    "data.events_per_user": 30.0,
    "train.rounds": 1,
    "evaluate.bootstrap": 20,
}
MACHINE = {"cores": 2, "processor": "Example CPU", "python": "3.11.9", "tensorflow": "2.21"}
ENDS = {m: [0.1, 0.3] for m in multitask.METRICS}
TEST = dict.fromkeys(multitask.METRICS, 0.2)


@pytest.mark.parametrize("name", multitask.SYSTEMS)
def test_every_system_can_be_configured_and_starts_where_the_file_says(name: str) -> None:
    system = multitask.SYSTEMS[name]
    settings, sampler = multitask.propose(system.space, [], system.base.flat())
    assert sampler == "file"
    assert settings == {key: system.base.flat()[key] for key in system.searched}
    assert system.base.split.event == "purchase"


def test_systems_are_searched_and_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("MMoE, funnel", "popularity")
    small = {
        n: multitask.System(s.part, s.kind, {**s.keys, **SMALL}, s.searched)
        for n, s in multitask.SYSTEMS.items()
        if n in names
    }
    monkeypatch.setattr(multitask, "SYSTEMS", small)
    monkeypatch.setattr(multitask, "SEEDS", (0,))
    trials = multitask.search(names[0], [], 2)
    assert len(trials) == 2
    assert all(trial.value is not None for trial in trials)
    assert trials[0].settings != trials[1].settings
    assert multitask.search(names[1], []) == []
    sums = {}
    for name in names:
        told, sums[name] = multitask.finals(name, {})
        assert told["ci95"]["full.ndcg@10"][0] <= told["test"]["full.ndcg@10"]
    (pair,) = multitask.compared(sums).values()
    difference, low, high, p = pair["full.ndcg@10"]
    assert low <= difference <= high
    assert 0 < p <= 1


def test_trials_of_another_file_are_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, file = "popularity", tmp_path / "figures.json"
    monkeypatch.setattr(multitask, "SEEDS", (0,))
    call = ["multitask", "--only", name, "--json", str(file), "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", call)
    for users in (40, 50):
        keys = {**SMALL, "data.users": users}
        system = multitask.System("users", "popularity", keys, {})
        monkeypatch.setattr(multitask, "SYSTEMS", {name: system})
        multitask.main()
        (told,) = json.loads(file.read_text())["systems"].values()
        assert told["base"] == system.base.config_hash()
        assert told["settings"] == {}
    monkeypatch.setattr(multitask, "finals", pytest.fail)  # the same file: nothing is run again
    multitask.main()


def test_a_run_of_tasks_that_was_stopped_is_not_shown(tmp_path: Path) -> None:
    place = tmp_path / "experiments" / "results"
    place.mkdir(parents=True)
    (place / "multitask.json").write_text('{"systems": {"MMoE": {"trials": []}}, "machine": {}}')
    assert multitask_table(tmp_path) == "Not recorded."


def test_a_federated_closed_form_is_the_centralised_one(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"data.users": 30, "data.items": 50, "data.events_per_user": 8.0}
    cases = {
        "knn": closed_form.Case("item-knn", 3, few),
        "ease": closed_form.Case("ease", 1, {**closed_form.MASKED, **few}),
    }
    monkeypatch.setattr(closed_form, "CASES", cases)
    for name in cases:
        row = closed_form.measure(name)
        assert row["difference"] <= closed_form.LIMIT
        assert (row["users"], row["items"]) == (30, 50)
        assert row["bytes_up_per_client"] > 0


def test_noise_is_configured_as_asked() -> None:
    config = private_ease.configuration(8.0, 21.0, 500.0, 2)
    assert (config.privacy.epsilon, config.privacy.clip, config.privacy.draws) == (8, 21, "seeded")
    assert (config.baseline.ease_l2, config.run.seed) == (500, 2)
    assert private_ease.configuration(None, 0.0, 100.0, 0).privacy.mechanism == "off"


def test_adapters_and_regularisers_vary_keys_of_their_files() -> None:
    for own, space in adapters.WAYS.values():
        config = load_config(adapters.FILE, {**own, "model.pretrained": "an earlier run"})
        assert set(space) <= set(config.flat())
    for chosen in regularisers.SETS.values():
        path = regularisers.HERE / f"{chosen.file}.toml"
        for strength in chosen.strengths:
            load_config(path, {**chosen.keys, chosen.key: strength})
        assert chosen.strengths[0] == regularisers.NONE


def test_methods_for_unlike_merchants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in silo_methods.QUESTIONS.values():
        for keys in asked.systems.values():
            for more in asked.settings:
                config = load_config(asked.file, {**keys, **more})
                assert config.clients.unit == "merchant"
    seen: list[dict[str, Any]] = []

    def train(file: Path, keys: dict[str, Any]) -> Any:
        assert file == silo_methods.METHODS.file
        seen.append(keys)
        valid = {"full": {"ndcg@10": 1.0 - abs(keys["train.lr"] - 0.3)}}
        left = {
            "metrics": {"valid": valid},
            "selected_round": 4,
            "cost": {"bytes_up_per_client": 1},
        }
        return left, keys["run.seed"]

    monkeypatch.setattr(silo_methods, "train", train)
    monkeypatch.setattr(silo_methods, "merge", lambda sums: sums)
    monkeypatch.setattr(silo_methods, "intervals", lambda sums: ENDS)
    monkeypatch.setattr(silo_methods, "means", lambda sums: TEST)
    row, sums = silo_methods.measure(silo_methods.METHODS, "SCAFFOLD")
    assert sums == list(silo_methods.SEEDS)
    assert row["keys"] == {"train.method": "scaffold", "train.lr": 0.3}
    assert len(seen) == len(silo_methods.METHODS.settings) + 2
    row["against_first"] = {"full.ndcg@10": [0.05, 0.01, 0.09, 0.02]}
    found = {"systems": {"FedAvg": {**row, "against_first": {}}, "SCAFFOLD": row}, "seeds": 3}
    text = silo_methods_table(written(tmp_path, "silo_methods", found))
    assert "| NDCG@10 against FedAvg |" in text
    assert "| SCAFFOLD | `method=scaffold`, `lr=0.3` | 0 kB | 1.000 | 0.200 [" in text
    assert "▲ +0.050 [+0.010, +0.090] |" in text


def written(root: Path, name: str, figures: dict[str, Any]) -> Path:
    file = root / "experiments" / "results" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**figures, "machine": MACHINE}))
    return root


def test_what_is_protected_by_noise_on_sums_of_merchants() -> None:
    config = customer_ease.configuration("marketplace", "customer", 8.0, 15.0, 300.0, 2)
    assert (config.privacy.unit, config.privacy.clip, config.run.seed) == ("customer", 15.0, 2)
    assert config.privacy.customers > 4000  # some shop with several merchants
    other = customer_ease.configuration("marketplace", "client", 8.0, 400.0, 300.0, 2)
    assert (other.privacy.unit, other.privacy.delta) == ("client", config.privacy.delta)


def test_the_table_of_tasks(tmp_path: Path) -> None:
    row = {"part": "users", "valid": [0.2, 0.1], "test": TEST, "ci95": ENDS, "trials": [{}, {}]}
    found = {"systems": {"first": row, "second": row},
             "differences": {"second": {"full.ndcg@10": [0.05, 0.01, 0.09, 0.02]}}}  # fmt: skip
    text = multitask_table(written(tmp_path, "multitask", found))
    assert "| users as clients | validation |" in text
    assert "| second | 0.150 | 0.200 [0.100, 0.300] | 0.200 [0.100, 0.300] |" in text
    assert "▼ −0.050 [−0.090, −0.010] |" in text
    assert "2 settings of each" in text


def test_the_other_tables(tmp_path: Path) -> None:
    row = {"users": 20, "items": 50, "difference": 2e-8, "cpu_s": 3.2, "centralised_cpu_s": 1.0,
           "peak_rss_mib": 1234, "bytes_up_per_client": 2500}  # fmt: skip
    text = closed_form_table(written(tmp_path, "bench/closed_form", {"limit": 1e-6, "case": row}))
    assert "| case | 20 | 50 | 2.0e-08 | 3 s | 1 s | 1,234 MiB | 2.5 kB |" in text
    chosen = {"clip": 21.0, "ease_l2": 100.0}
    told = {"spent": 7.99, "delta": 5e-4, "chosen": chosen, "seeds": 3, "test": TEST, "ci95": ENDS}
    text = private_ease_table(written(tmp_path, "private_ease", {"rows": [told]}))
    assert "| 7.99 | 5.0e-04 | 21 | 100 | 0.200 [0.100, 0.300] |" in text
    row = {"case": "shops", "unit": "customer", "noise_multiplier": 0.5, **told}
    size = {"merchants": 3, "customers": 1234, "items": 9}
    size |= {"popularity": {"test": TEST, "ci95": ENDS}}
    found = {"cases": {"shops": size}, "rows": [row]}
    text = customer_ease_table(written(tmp_path, "customer_ease", found))
    assert "| shops | a customer | 7.99 | 10.5 | 21 | 100 | 0.200 [0.100, 0.300] |" in text
    assert "shops: 3 merchants, 1,234 customers, 9 items. δ: 5.0e-04" in text
    way = {"way": "rank 2", "settings": {"server.table_lr": 0.01}, "bytes_up_per_client": 5388,
           "test": TEST, "ci95": ENDS,
           "against_frozen": {"full.ndcg@10": [0.01, 0.001, 0.02, 0.01]}}  # fmt: skip
    text = adapters_table(written(tmp_path, "adapters", {"ways": [way], "seeds": 3}))
    assert "| rank 2 | `table_lr=0.01` | 5.4 kB |" in text
    assert "▲ +0.010 [+0.001, +0.020]" in text
    strengths = {"0": {"valid": [0.1], "test": TEST, "ci95": ENDS}}
    found = {"graph": {"seeds": 3, "strengths": strengths}}
    text = regularisers_table(written(tmp_path, "regularisers", found))
    assert "| graph | 0 | 0.1000 | 0.200 [0.100, 0.300] |" in text


def test_what_has_no_results_says_so(tmp_path: Path) -> None:
    for table in (multitask_table, closed_form_table, private_ease_table, customer_ease_table, adapters_table,
                  regularisers_table):  # fmt: skip
        assert table(tmp_path) == "Not recorded."


def test_prices_of_a_store_by_hand(tmp_path: Path) -> None:
    """Twice the range and half a unit above: prices 0, 1, 2 elsewhere are -0.5, 1.5, 3.5 here."""
    lines = [
        {"store_id": store, "item": item, "price": price}
        for store, prices in ((1, (-0.5, 1.5, 3.5)), (2, (0.0, 1.0, 2.0)))
        for item, price in enumerate(prices)
        for _ in range(store_prices.FEWEST)
    ]
    rare = {"store_id": 1, "item": 0, "price": 9.0}  # one of six: no median
    found = store_prices.prices_of(pd.DataFrame([*lines, rare]), 1, "item")
    assert found["items"] == 3
    assert found["range"] == pytest.approx(2.0)
    assert found["level"] == pytest.approx(0.5)
    assert found["error"] == pytest.approx(0.0, abs=1e-9)
    levels = {"products": {"1": found, "2": {**found, "range": 1.0}}}
    text = store_prices_table(written(tmp_path, "store_prices", {"levels": levels}))
    assert "| products | 3 to 3 | 0.500 ±0.000 | 1.500 ±0.707 | 0.000 | 0.000 |" in text
