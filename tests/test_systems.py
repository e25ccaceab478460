"""The systems that are compared: their names, seeds and files."""

import numpy as np
import pytest

from fedrec.config import Config, from_flat
from fedrec.errors import ConfigError
from fedrec.evaluation.summary import system_name
from fedrec.evaluation.sums import means
from fedrec.run import read_system
from fedrec.systems import (
    check_systems,
    names_of,
    planned_rounds,
    read_sums,
    seeds_of,
    train_system,
)

NCF = from_flat({"model.name": "ncf"})
LEAKY = from_flat({"train.negatives_from": "legacy-leaky"})
FCF = from_flat({"train.method": "fcf", "model.loss": "squared"})
RECON = from_flat({"train.method": "fedrecon"})
OWN = from_flat({"train.method": "pfedrec", "model.name": "head", "evaluate.table": "personalised"})
ANCHORED = from_flat({"model.anchor": 0.3})
BOTH = OWN.with_({"train.negatives_from": "legacy-leaky"})


@pytest.mark.parametrize(
    ("config", "system", "name"),
    [
        (Config(), "federated", "federated-mf"),
        (NCF, "federated", "federated-ncf"),
        (FCF, "federated", "federated-fcf"),
        (FCF, "centralised", "centralised-mf"),
        (NCF, "local-only", "local-only-ncf"),
        (NCF, "user-knn-cosine", "user-knn-cosine"),
        (LEAKY, "federated", "federated-mf-legacy-leaky"),
        (LEAKY, "local-only", "local-only-mf-legacy-leaky"),
        (LEAKY, "ease", "ease"),
        (RECON, "federated", "federated-fedrecon"),
        (RECON, "centralised", "centralised-mf"),
        (OWN, "federated", "federated-pfedrec-personalised"),
        (OWN, "local-only", "local-only-head"),
        (BOTH, "federated", "federated-pfedrec-personalised-legacy-leaky"),
        (ANCHORED, "federated", "federated-mf-anchored"),
        (ANCHORED, "centralised", "centralised-mf-anchored"),
    ],
)
def test_a_system_has_one_name(config, system, name):
    assert system_name(config, system) == name


def test_seeds_are_for_systems_that_draw():
    assert seeds_of("federated", (3, 4)) == (3, 4)
    assert seeds_of("ials", (3, 4)) == (3, 4)
    assert seeds_of("random", (3, 4)) == (3, 4)
    for name in ("popularity", "ease", "item-knn", "user-knn-pearson", "bias"):
        assert seeds_of(name, (3, 4)) == (3,)


def test_names_are_words_each_once():
    config = from_flat({"compare.systems": "federated, ease ease"})
    assert names_of(config) == ["federated", "ease"]


@pytest.mark.parametrize(("epochs", "every", "last"), [(20, 5, 20), (7, 5, 5), (3, 5, 5)])
def test_planned_rounds(epochs, every, last):
    config = from_flat({
        "local.epochs": epochs, "local.every": every, "train.rounds": 9, "central.epochs": 8
    })  # fmt: skip
    planned = {n: planned_rounds(n, config) for n in ("federated", "centralised", "ease")}
    assert planned == {"federated": 9, "centralised": 8, "ease": 0}
    assert planned_rounds("local-only", config) == last


def test_all_default_systems_are_known():
    check_systems(names_of(Config()), Config())
    with pytest.raises(ConfigError, match=r"unknown system 'eas'. Did you mean 'ease'\?"):
        check_systems(["eas"], Config())


def test_a_client_alone_has_no_net_of_the_server():
    with pytest.raises(ConfigError, match="model.anchor = 0.3 .* leave 'local-only' out"):
        check_systems(["federated", "local-only"], ANCHORED)
    check_systems(["federated", "centralised"], ANCHORED)


def test_a_system_leaves_its_files(small_run, tmp_path):
    config = small_run(central__epochs=2)
    train_system("centralised", config, tmp_path / "c", "in-process", lambda event: None)
    system = read_system(tmp_path / "c", "systems/c/")
    assert (system.name, system.kind, system.seed) == ("centralised-mf", "centralised", 0)
    assert system.history == "systems/c/rounds.jsonl"
    assert system.bootstrap == "systems/c/test_sums.npz"
    assert system.privacy["statement"] == "not private: all interactions are pooled on one machine"
    sums = read_sums(tmp_path / "c" / "test_sums.npz")
    assert means(sums)["full.hr@10"] == pytest.approx(system.metrics["test"]["full"]["hr@10"])
    assert np.shape(sums.replicates["full.hr@10"]) == (20,)


def test_a_baseline_has_no_rounds(small_run, tmp_path):
    train_system("popularity", small_run(), tmp_path / "p", "in-process", lambda event: None)
    system = read_system(tmp_path / "p")
    assert system.selected_round is None
    assert system.history is None
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["system.json", "test_sums.npz"]


def test_nothing_leaves_a_client_that_trains_alone(small_run, tmp_path):
    config = small_run(local__epochs=2, local__every=1)
    train_system("local-only", config, tmp_path / "l", "in-process", lambda event: None)
    system = read_system(tmp_path / "l")
    assert (system.cost["bytes_up_per_client"], system.cost["bytes_down_per_client"]) == (0, 0)
    assert system.privacy["statement"] == "nothing leaves a client"
