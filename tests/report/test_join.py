from dataclasses import replace

import pytest

from fedrec.errors import OutputError
from fedrec.report.join import join, load_runs
from tests.sample_run import sample_result, write_sample


def test_one_run_is_itself_with_absolute_paths(tmp_path):
    write_sample(tmp_path)
    result = load_runs([tmp_path])
    assert result.systems[0].history == str(tmp_path / "federated-mf-seed0/rounds.jsonl")
    assert result.systems[-1].history is None


def test_systems_of_several_results_stand_side_by_side():
    first = sample_result()
    other = replace(first, name="other", config_hash="ffff", systems=first.systems[:1])
    joined = join([first, other, first])
    assert len(joined.systems) == len(first.systems) + 1
    assert joined.systems[-1].name == "federated-mf (ffff)"
    assert joined.notes == first.notes


def test_different_splits_are_said_not_to_compare():
    first = sample_result()
    other = replace(first, name="other", data={**first.data, "split_hash": "0000"})
    assert (
        "other: its data differ from those of quickstart (split_hash)"
        in join([first, other]).notes[-1]
    )


def test_joining_nothing():
    with pytest.raises(OutputError, match="at least one result"):
        join([])
