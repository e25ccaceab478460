"""The search: equal budgets, a record that a second start goes on from, no look at the test."""

import json
import math

import pytest

from experiments.board import search as module
from experiments.board.entries import Choices, Entry, Range
from experiments.board.search import (
    Halving,
    Trial,
    best,
    kept,
    propose,
    search,
    settings_tried,
    trial_config,
    validate,
)
from fedrec.errors import ConfigError, EngineError

SPACE = {"train.lr": Choices((1.0, 2.0, 3.0)), "model.dim": Range(4, 6)}
BASE = {"train.lr": 1.0, "model.dim": 4}


def entry(**more):
    keys = {"model.dim": 4, "train.lr": 1.0, "train.rounds": 1, "compare.systems": "federated"}
    searched = {"train.lr": [2.0, 3.0], "model.dim": {"low": 4, "high": 6}}
    return Entry("toy", "A toy.", {**keys, **more}, searched)


def value(config):
    return -((config.train.lr - 2.0) ** 2) - abs(config.model.dim - 5) / 10


def run(tmp_path, trials, measure, made=None, halving=None):
    file, made = tmp_path / "toy.search.json", made or entry()
    return search(made, "quick", "federated", trials, file, measure, lambda line: None, halving)


def test_the_first_trial_is_the_file_and_none_is_made_twice(tmp_path):
    trials = run(tmp_path, 9, lambda system, config: value(config))
    settings = [tuple(t.settings.items()) for t in trials]
    assert settings[0] == (("train.lr", 1.0), ("model.dim", 4))
    assert len(set(settings)) == 9  # the whole space of 3 x 3
    assert trials[0].sampler == "file"
    assert best(trials).settings == {"train.lr": 2.0, "model.dim": 5}
    assert len(run(tmp_path, 50, lambda *a: pytest.fail("there is nothing left to try"))) == 9


def test_an_interrupted_search_goes_on_as_if_it_had_not_stopped(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = run(tmp_path / "whole", 7, lambda system, config: value(config))
    run(tmp_path / "parts", 3, lambda system, config: value(config))
    parts = run(tmp_path / "parts", 7, lambda system, config: value(config))
    assert [(t.settings, t.value) for t in whole] == [(t.settings, t.value) for t in parts]


def test_the_record_shows_every_trial(tmp_path):
    run(tmp_path, 2, lambda system, config: value(config))
    told = json.loads((tmp_path / "toy.search.json").read_text())
    assert (told["method"], told["data"], told["metric"]) == ("toy", "quick", "valid.full.ndcg@10")
    trials = told["systems"]["federated"]["trials"]
    assert trials[0]["value"] == pytest.approx(-1.1)
    assert set(trials[0]) == {"settings", "value", "seconds", "sampler", "failure", "share"}


def test_a_changed_file_begins_anew(tmp_path):
    run(tmp_path, 2, lambda system, config: value(config))
    changed = run(tmp_path, 1, lambda system, config: 7.0, entry(**{"train.l2": 0.5}))
    assert [t.value for t in changed] == [7.0]


def test_a_trial_that_fails_is_recorded_and_never_chosen(tmp_path):
    def measure(system, config):
        if config.train.lr == 2.0:
            raise EngineError("it burnt")
        return math.nan if config.train.lr == 3.0 else 0.25

    trials = run(tmp_path, 9, measure)
    assert {t.failure for t in trials} == {
        "", "it burnt", "the validation metric is not a number",
    }  # fmt: skip
    assert best(trials).value == 0.25


def test_a_file_that_fails_itself_stops_the_search(tmp_path):
    def measure(system, config):
        raise EngineError("it burnt")

    with pytest.raises(EngineError, match="it burnt"):
        run(tmp_path, 3, measure)


def test_without_the_package_settings_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    done = [Trial({"train.lr": 1.0, "model.dim": 4 + i % 3}, 0.0, 0.0, "random") for i in range(4)]
    settings, sampler = propose(SPACE, done, BASE)
    assert sampler == "random"
    assert settings["train.lr"] in (1.0, 2.0, 3.0)
    assert settings["model.dim"] in (4, 5, 6)


def test_with_the_package_it_is_asked_once_there_is_something_to_tell(monkeypatch):
    pytest.importorskip("optuna")
    space = {"train.lr": Range(0.0, 1.0), "train.l2": Range(1e-4, 1.0, log=True)}
    done = [Trial({"train.lr": x / 10, "train.l2": 0.1}, x / 10, 0.0, "random") for x in range(10)]
    settings, sampler = propose(space, done, {})
    assert sampler == "optuna"
    assert settings["train.lr"] > 0.5  # where it was good; a random draw is so half of the time
    assert propose(space, done, {}) == (settings, sampler)
    assert propose(space, done[:3], {})[1] == "random"


def test_drawn_numbers_keep_their_range():
    space = {"a": Range(1e-3, 1e-1, log=True), "b": Range(1, 3), "c": Range(2, 64, log=True)}
    for seed in range(20):
        done = [Trial({"a": seed, "b": 0, "c": 0}, None, 0.0, "random")] * (seed % 3 + 1)
        drawn, _ = propose(space, done, {})
        assert 1e-3 <= drawn["a"] <= 1e-1
        assert drawn["b"] in (1, 2, 3)
        assert isinstance(drawn["c"], int)
        assert 2 <= drawn["c"] <= 64


def test_a_trial_computes_no_more_than_it_needs():
    config = trial_config(entry(), "quick", {"train.rounds": 7})
    assert (config.evaluate.bootstrap, config.evaluate.sampled, config.run.seed) == (0, 0, 0)
    assert config.server.checkpoint_every == 7


def test_validation_is_what_a_trial_returns():
    made = Entry("popularity", "", {"compare.systems": "popularity"})
    assert 0 < validate("popularity", trial_config(made, "quick", {})) < 1


def test_settings_that_contradict_each_other_fail_alone(tmp_path):
    made = Entry("toy", "", {"train.rounds": 1}, {"model.loss": ["squared"]})
    trials = run(tmp_path, 2, lambda system, config: 0.5, made)
    assert trials[1].value is None
    assert "model.loss = 'squared' is for ratings" in trials[1].failure
    with pytest.raises(ConfigError):
        trial_config(made, "quick", {"model.loss": "squared"})


def slow_to_start(system, config):
    """Short trials prefer a rate of 3; in full a rate of 2 is better."""
    short = config.train.rounds < 10
    return value(config) if not short else -abs(config.train.lr - 2.6)


def test_halving_trains_all_for_a_share_and_the_best_in_full(tmp_path):
    made, rounds = entry(**{"train.rounds": 10}), []

    def measure(system, config):
        rounds.append(config.train.rounds)
        return slow_to_start(system, config)

    trials = run(tmp_path, 9, measure, made, Halving(0.25, 4))
    assert rounds == [3] * 9 + [10] * 4  # a quarter of ten rounds, rounded up
    assert [t.share for t in trials] == [0.25] * 9 + [1.0] * 4
    full = trials[9:]
    assert [t.settings["train.lr"] for t in full] == [3.0, 3.0, 3.0, 2.0]  # as the short ones say
    assert best(trials).settings["train.lr"] == 2.0
    assert settings_tried(trials) == 9


def test_a_short_trial_is_never_chosen_over_a_full_one():
    short = Trial({"train.lr": 1.0}, 0.9, 0.0, "file", share=0.2)
    full = Trial({"train.lr": 2.0}, 0.3, 0.0, "random")
    failed = Trial({"train.lr": 3.0}, None, 0.0, "random", "it burnt")
    assert best([short, full, failed]) is full
    assert best([short, failed]) is short
    assert kept([short, full], Halving(0.2, 2)) == [short]
    assert kept([full, failed], None) == []


def test_an_interrupted_halving_goes_on_as_it_was_begun(tmp_path):
    made, halving = entry(**{"train.rounds": 10}), Halving(0.2, 2)
    for part in ("whole", "parts"):
        (tmp_path / part).mkdir()
    whole = run(tmp_path / "whole", 5, slow_to_start, made, halving)

    def stops(system, config):
        if config.train.rounds == 10:
            raise KeyboardInterrupt
        return slow_to_start(system, config)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", 5, stops, made, halving)
    parts = run(tmp_path / "parts", 5, slow_to_start, made)  # the second start does not say it
    assert [(t.settings, t.value, t.share) for t in parts] == [
        (t.settings, t.value, t.share) for t in whole
    ]
    told = json.loads((tmp_path / "parts" / "toy.search.json").read_text())
    assert told["systems"]["federated"]["halving"] == {"share": 0.2, "keep": 2}


def test_a_search_begun_in_full_goes_on_in_full(tmp_path):
    made = entry(**{"train.rounds": 10})
    run(tmp_path, 2, slow_to_start, made)
    assert {t.share for t in run(tmp_path, 5, slow_to_start, made, Halving())} == {1.0}


def test_what_cannot_be_shortened_is_tried_in_full(tmp_path):
    trials = run(tmp_path, 5, slow_to_start, entry(), Halving())
    assert [t.share for t in trials] == [1.0] * 5
