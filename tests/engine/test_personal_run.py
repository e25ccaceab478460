"""Runs whose server makes rows for single clients, or whose clients keep tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedrec.engine.run_engine import execute
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from tests.engine.test_engines import change, relative_difference
from tests.interruption import cut_after

GRAPH = {
    "train__method": "gpfedrec",
    "model__name": "head",
    "train__row_lr": 20.0,
    "train__prox_mu": 0.02,
    "train__reduction": "mean",
    "server__rows": "mean",
    "server__weighting": "equal",
    "train__rounds": 3,
    "evaluate__every": 1,
}


def lines(config):
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def arrays_of(config):
    return read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]


def test_a_graph_of_users_guides_its_clients(small_run):
    config = small_run("graph", **GRAPH, evaluate__table="personalised")
    execute(config)
    told = lines(config)
    assert all(1 < line["neighbours"] < line["clients"] for line in told)
    down = [line["bytes_down"] for line in told]
    assert down[0] < down[1]  # nobody is guided in the first round
    arrays = arrays_of(config)
    lengths = arrays["shared/guides/lengths"]
    assert len(lengths) == told[-1]["clients"]
    assert down[2] - down[0] == pytest.approx(down[1] - down[0], rel=0.1)
    rows = arrays["shared/guides/rows.item"]
    assert rows.shape == (lengths.sum(), config.model.dim)
    plain = small_run("plain", **{**GRAPH, "train__method": "pfedrec"})
    execute(plain)
    assert relative_difference(change(config), change(plain)) > 0.01


def test_who_is_not_drawn_keeps_its_guides(small_run):
    few = {"clients__sampling": "fixed", "clients__per_round": 12}
    config = small_run("few", **GRAPH, **few)
    execute(config)
    guides = arrays_of(config)["shared/guides/clients"]
    assert 12 < len(guides) <= 36
    assert (np.diff(guides) > 0).all()


def test_guides_survive_an_interruption(small_run, monkeypatch):
    keys = {**GRAPH, "evaluate__table": "personalised"}
    whole, halved = small_run("whole", **keys), small_run("halved", **keys)
    execute(whole)
    with monkeypatch.context() as patch:
        cut_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            execute(halved)
    execute(halved)
    expected = arrays_of(whole)
    assert expected.keys() == arrays_of(halved).keys()
    for name, value in arrays_of(halved).items():
        assert np.array_equal(value, expected[name]), name
    tests = [system_of(config)["metrics"]["test"] for config in (whole, halved)]
    assert tests[0] == tests[1]


def system_of(config):
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


def test_own_tables_stay_on_their_node(small_run):
    keys = {"train__method": "fedrap", "model__name": "additive", "train__row_lr": 20.0,
            "train__reduction": "mean", "server__rows": "mean", "train__rounds": 2}  # fmt: skip
    config = small_run("memory", **keys)
    result = run(config, out=config.run.out, overwrite=True).result
    assert result.systems[0].name == "federated-fedrap"
    assert not any("own" in name for name in arrays_of(config))
    size = arrays_of(config)["shared/table.item"].nbytes
    up = lines(config)[-1]["bytes_up"] / lines(config)[-1]["clients"]
    assert 0 < up < 1.5 * size  # one table's rows, not two
    mapped = small_run("disk", **keys, train__personal_store="disk")
    execute(mapped)
    assert relative_difference(change(mapped), change(config)) == 0
    assert system_of(mapped)["metrics"]["test"] == system_of(config)["metrics"]["test"]
