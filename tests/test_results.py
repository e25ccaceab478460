import json
import math

import pytest

from fedrec.errors import OutputError
from fedrec.results import Paired, Result, SystemResult, load_result, save_result
from tests.sample_run import sample_result


def one(**more) -> SystemResult:
    return SystemResult("a", "federated", 0, **more)


def result_of(*systems: SystemResult) -> Result:
    return Result("r", "0.1.0", "abc", {"name": "d"}, systems)


def test_the_keys_of_the_file_are_the_contract(tmp_path):
    data = json.loads(save_result(sample_result(), tmp_path).read_text())
    assert list(data)[:6] == ["schema", "name", "fedrec", "config_hash", "data", "systems"]
    assert data["schema"] == 1
    assert set(data["data"]) >= {"name", "users", "items", "interactions", "split_hash", "protocol"}
    contract = {"name", "kind", "seed", "selected_round", "metrics", "ci95", "privacy", "cost"}
    assert set(data["systems"][0]) >= contract
    assert data["systems"][0]["ci95"]["test.full.hr@10"] == pytest.approx([0.095, 0.137])


def test_writing_and_reading_gives_the_same_result(tmp_path):
    save_result(sample_result(), tmp_path)
    assert load_result(tmp_path) == sample_result()
    assert load_result(tmp_path / "result.json") == sample_result()


def test_unknown_keys_survive(tmp_path):
    data = sample_result().to_json() | {"later": {"x": 1}}
    data["systems"][0]["later"] = 2
    read = Result.from_json(data)
    assert read.to_json()["later"] == {"x": 1}
    assert read.to_json()["systems"][0]["later"] == 2


def test_numbers_that_are_not_finite_become_null(tmp_path):
    numpy = pytest.importorskip("numpy")
    system = one(metrics={"test": {"full": {"hr@10": math.nan, "hr@5": numpy.float32(0.5)}}})
    save_result(result_of(system), tmp_path)
    read = load_result(tmp_path).systems[0]
    assert read.metrics["test"]["full"] == {"hr@10": None, "hr@5": 0.5}
    assert read.flat_metrics() == {"test.full.hr@5": 0.5}


def test_summary_is_the_mean_over_seeds_with_averaged_ends():
    first = SystemResult(
        "a", "federated", 0, metrics={"test": {"m": 0.1}}, ci95={"test.m": (0.0, 0.2)}
    )
    second = SystemResult(
        "a", "federated", 1, metrics={"test": {"m": 0.3}}, ci95={"test.m": (0.2, 0.5)}
    )
    (row,) = result_of(first, second).summarise()
    assert (row.mean, row.low, row.high, row.seeds) == pytest.approx((0.2, 0.1, 0.35, 2))
    assert row.seed_sd == pytest.approx(math.sqrt(0.02))


def test_summary_without_intervals_has_nan_ends():
    (row,) = result_of(one(metrics={"test": {"m": 0.1}})).summarise()
    assert math.isnan(row.low)
    assert math.isnan(row.high)
    assert row.seed_sd == 0.0


def test_frames():
    frame = sample_result().frame()
    assert list(frame.columns) == [
        "system", "kind", "seed", "selected_round", "metric", "value", "low", "high",
    ]  # fmt: skip
    row = frame[(frame.system == "ease") & (frame.metric == "test.full.hr@10")].iloc[0]
    assert row.value == pytest.approx(0.129)
    assert row.low == pytest.approx(0.108)
    summary = sample_result().summary()
    chosen = summary[(summary.system == "federated-mf") & (summary.metric == "test.full.hr@10")]
    assert chosen["mean"].iloc[0] == pytest.approx(0.118)
    assert chosen.seeds.iloc[0] == 3


def test_significance_prefers_the_corrected_p_value():
    assert not Paired("a", "b", "m", 0.1, 0.01, 0.2, 0.04, 0.12).significant
    assert Paired("a", "b", "m", 0.1, 0.01, 0.2, 0.04).significant
    assert Paired("a", "b", "m", 0.1, 0.01, 0.2).significant
    assert not Paired("a", "b", "m", 0.1, -0.01, 0.2).significant


def test_reading_what_is_not_a_result(tmp_path):
    with pytest.raises(OutputError, match="expected the output directory of 'fedrec run'"):
        load_result(tmp_path)
    (tmp_path / "rounds.jsonl").write_text("")
    with pytest.raises(OutputError, match="has not finished; resume it with: fedrec run --resume"):
        load_result(tmp_path)
    file = tmp_path / "result.json"
    file.write_text("{")
    with pytest.raises(OutputError, match="not valid JSON, it may be corrupted"):
        load_result(tmp_path)
    file.write_text("[]")
    with pytest.raises(OutputError, match="expected a JSON object"):
        load_result(tmp_path)
    file.write_text('{"name": "x"}')
    with pytest.raises(OutputError, match="the key 'fedrec' of a Result is missing"):
        load_result(tmp_path)
    file.write_text(json.dumps(sample_result().to_json() | {"schema": 2}))
    with pytest.raises(OutputError, match="upgrade fedrec"):
        load_result(tmp_path)
