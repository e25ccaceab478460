"""Files of the leaderboard: what is searched for whom, and what belongs to which twin."""

from dataclasses import replace

import pytest

from experiments.board.entries import Choices, Entry, Range, read_entries, read_entry, size
from experiments.board.standings import Standing
from fedrec.errors import ConfigError

FILE = """# A method.
# In two lines.

[model]
dim = 8

[train]
method = "alternating"
personal_lr = 0.05

[compare]
systems = "federated centralised popularity ease"

[on.quick]
"train.rounds" = 2

[search]
"model.dim" = [4, 8]
"train.personal_lr" = {low = 0.01, high = 0.1, log = true}
"central.lr" = [0.001, 0.01]
"""


def entry_of(tmp_path, text=FILE, name="method"):
    file = tmp_path / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return read_entry(file)


def test_a_file_is_an_experiment_with_a_space_beside(tmp_path):
    entry = entry_of(tmp_path)
    assert entry.about == "A method. In two lines."
    config = entry.config("quick", {"model.dim": 4})
    assert (config.model.dim, config.train.rounds, config.data.name) == (4, 2, "marketplace")
    assert entry.config("ml-100k").train.rounds == 50
    assert config.run.name == "method"


def test_baselines_of_other_files_are_left_to_them(tmp_path):
    entry = entry_of(tmp_path)
    assert entry.systems() == ("federated", "centralised")
    assert entry.twin() == "method.centralised"
    knn = entry_of(
        tmp_path, '[compare]\nsystems = "user-knn-cosine user-knn-pearson ease"', "user-knn"
    )
    assert knn.systems() == ("user-knn-cosine", "user-knn-pearson")
    assert knn.twin() is None


def test_a_twin_may_be_that_of_another_file(tmp_path):
    text = 'twin = "fedmf"\n[compare]\nsystems = "federated popularity"\n'
    entry = entry_of(tmp_path, text)
    assert entry.twin() == "fedmf.centralised"
    assert entry.systems() == ("federated",)


def test_every_twin_is_a_row_of_the_leaderboard():
    entries = read_entries()
    rows = {f"{e.name}.{system}" for e in entries if not e.leaky for system in e.systems()}
    assert {e.twin() for e in entries if e.twin()} <= rows


def test_each_system_searches_the_keys_that_it_looks_at(tmp_path):
    entry = entry_of(tmp_path)
    federated = entry.space("quick", "federated")
    assert federated == {
        "model.dim": Choices((8, 4)),  # the file's own value first
        "train.personal_lr": Range(0.01, 0.1, True),
    }
    assert entry.space("quick", "centralised") == {
        "model.dim": Choices((8, 4)),
        "central.lr": Choices((0.003, 0.001, 0.01)),
    }
    assert entry.space("quick", "popularity") == {}


def test_a_twin_without_keys_of_its_own_is_searched_all_the_same(tmp_path):
    entry = entry_of(tmp_path, '[compare]\nsystems = "federated centralised"')
    assert set(entry.space("quick", "centralised")) == {"central.lr", "central.l2"}
    assert entry.space("quick", "federated") == {}


def test_closed_forms_take_their_settings_from_the_baselines(tmp_path):
    text = (
        '[model]\nname = "item-item"\n[train]\nmethod = "ease"\nrounds = 1\n[compare]\n'
        'systems = "federated ease"\n[search]\n"baseline.ease_l2" = [1.0]\n'
        '"baseline.knn_k" = [3]\n'
    )
    entry = entry_of(tmp_path, text, "ease")
    assert entry.systems() == ("federated", "ease")
    assert entry.twin() == "ease.ease"
    assert set(entry.space("quick", "ease")) == {"baseline.ease_l2"}
    assert set(entry.space("quick", "federated")) == {"baseline.ease_l2", "baseline.knn_k"}


@pytest.mark.parametrize(
    ("space", "count"),
    [
        ({}, 1),
        ({"a": Choices((1, 2, 3)), "b": Choices((1, 2))}, 6),
        ({"a": Range(2, 5)}, 4),
        ({"a": Range(0.1, 1.0)}, float("inf")),
    ],
)
def test_the_size_of_a_space(space, count):
    assert size(space) == count


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"train.speed" = [1]', "names 'train.speed', which is no configuration key"),
        ('"train.rounds" = 3', "expected a list of choices"),
        ('"train.rounds" = []', "expected a list of choices"),
        ('"train.rounds" = {low = 1, high = 5}', "own value 50 is not between 1 and 5"),
    ],
)
def test_an_unusable_space_is_refused(tmp_path, line, message):
    entry = entry_of(tmp_path, f"[search]\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        entry.space("quick", "federated")


def test_broken_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not valid TOML"):
        entry_of(tmp_path, "[model")
    with pytest.raises(ConfigError, match=r"\[on.mars\] is none of ml-100k"):
        entry_of(tmp_path, "[on.mars]\n")


def test_the_mark_of_a_system_follows_its_own_keys_only(tmp_path):
    entry = entry_of(tmp_path)
    other = entry_of(tmp_path, FILE.replace("[0.001, 0.01]", "[0.001]"))
    same, changed = (entry.fingerprint("quick", s) for s in ("federated", "centralised"))
    assert other.fingerprint("quick", "federated") == same
    assert other.fingerprint("quick", "centralised") != changed
    assert entry.fingerprint("ml-100k", "federated") != same


def test_the_mark_of_a_system_leaves_out_what_the_other_alone_reads(tmp_path):
    entry = entry_of(tmp_path)
    rounds = FILE + '\n[on.ml-100k]\n"server.weighting" = "samples"\n"train.rounds" = 9\n'
    changed = entry_of(tmp_path, rounds)
    same = [entry.fingerprint("ml-100k", s) == changed.fingerprint("ml-100k", s)
            for s in ("federated", "centralised")]  # fmt: skip
    assert same == [False, True]
    longer = entry_of(tmp_path, FILE + '\n[on.ml-100k]\n"central.epochs" = 9\n')
    same = [entry.fingerprint("ml-100k", s) == longer.fingerprint("ml-100k", s)
            for s in ("federated", "centralised")]  # fmt: skip
    assert same == [True, False]
    other = entry_of(tmp_path, FILE.replace("dim = 8", "dim = 4"))
    assert entry.fingerprint("ml-100k", "centralised") != other.fingerprint(
        "ml-100k", "centralised"
    )


def test_the_mark_of_a_system_does_not_say_which_others_are_trained(tmp_path):
    entry = entry_of(tmp_path)
    alone = replace(entry, settings={**entry.settings, "compare.systems": "federated"})
    assert alone.systems() != entry.systems()
    for system in ("federated", "centralised"):
        assert alone.fingerprint("quick", system) == entry.fingerprint("quick", system)


def test_the_mark_of_a_twin_says_how_its_attribute_net_is_trained(tmp_path):
    entry, steps = entry_of(tmp_path), "server.anchor_steps"
    nets = [replace(entry, settings={**entry.settings, steps: n}) for n in (5, 10)]
    first, second = (net.fingerprint("quick", "centralised") for net in nets)
    assert first != second


def test_a_leaky_entry_is_not_searched():
    entry = Entry("x", "", {"train.rounds": 3}, {"train.rounds": [1, 3]}, leaky=True)
    assert entry.space("quick", "federated") == {}
    assert entry.twin() is None


@pytest.mark.parametrize("entry", read_entries(), ids=lambda e: ("leaky " * e.leaky) + e.name)
def test_every_file_of_the_leaderboard_is_usable(entry):
    assert entry.about.endswith(".")
    for data in ("ml-100k", "complete-journey", "ml-1m"):
        config = entry.config(data)
        leaky = config.train.negatives_from == "legacy-leaky"
        assert leaky == entry.leaky
        for system in entry.systems():
            assert size(entry.space(data, system)) >= 1
    assert entry.systems()


def test_a_baseline_with_keys_of_its_own_is_a_twin_and_no_baseline():
    entry = next(e for e in read_entries() if e.name == "ease-near")
    assert entry.systems() == ("federated", "ease")
    assert entry.twin() == "ease-near.ease"
    assert entry.space("ml-100k", "ease") == entry.space("ml-100k", "federated")
    row = Standing("ease-near.ease", entry, "ease", None)
    assert (row.name, row.kind) == ("ease-near, centralised", "centralised")
    plain = Standing("ease.ease", next(e for e in read_entries() if e.name == "ease"), "ease", None)
    assert (plain.name, plain.kind) == ("ease, centralised", "baseline")
