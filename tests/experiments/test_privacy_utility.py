"""The privacy/utility grid runs, is resumed without repeating a point, and is drawn."""

import json

import pytest

from experiments import privacy_utility as grid


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    assert grid.main(["--quick", "--out", str(folder)]) == 0
    return folder


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def test_a_point_says_what_it_was(out):
    point = read(out / grid.NAME / "quick_clip-1.0_epsilon-8.json")
    assert point["overrides"]["privacy.epsilon"] == 8
    assert 7.5 < point["epsilon"] <= 8
    assert point["delta"] == pytest.approx(200**-1.1)
    assert point["noise_multiplier"] > 0
    assert point["bytes_up_per_client"] == 60 * (4 * 4 + 4)  # rows of 4 floats with their ids
    assert point["rounds"] == 3
    assert len(point["split_hash"]) == 16
    for metric in grid.METRICS:
        found = point["metrics"][metric]
        assert found["low"] <= found["mean"] <= found["high"]
        assert found["mean"] == pytest.approx(sum(found["by_seed"]) / 2, abs=1e-5)


def test_the_summary_holds_every_panel_and_level(out):
    (data,) = read(out / f"{grid.NAME}.json")["data"]
    assert {p["panel"] for p in data["points"]} == set(grid.PANELS)
    assert set(data["levels"]) == {"random", "popularity", "ease", "oracle"}
    scores = {name: level["ndcg@10"]["mean"] for name, level in data["levels"].items()}
    assert scores["random"] < scores["popularity"] < scores["oracle"]
    clipped = [p for p in data["points"] if p["panel"] == "epsilon" and p["x"] is None]
    assert [p["epsilon"] for p in clipped] == [None]
    sent = [p["x"] for p in data["points"] if p["panel"] == "bytes"]
    assert sent == [60 * (4 * 4 + 4), 60 * (4 * 2 + 4)]
    assert (out / f"{grid.NAME}.png").is_file()
    assert (out / f"{grid.NAME}_hr.svg").is_file()


def test_a_second_start_repeats_nothing(out, monkeypatch):
    before = (out / f"{grid.NAME}.json").read_bytes()
    for name in ("measured", "levels"):
        monkeypatch.setattr(grid, name, lambda *arguments: pytest.fail("trained again"))
    assert grid.main(["--quick", "--out", str(out)]) == 0
    assert (out / f"{grid.NAME}.json").read_bytes() == before


def test_a_lost_or_stale_point_is_measured_again(out, monkeypatch):
    asked = []

    def measured(data, overrides):
        asked.append(dict(overrides))
        return read(kept)

    kept = out / grid.NAME / "quick_dim-2.json"
    stale = out / grid.NAME / "quick_per-round-100.json"
    whole = stale.read_text(encoding="utf-8")
    stale.write_text(json.dumps({**read(stale), "config_hashes": ["another"]}))
    monkeypatch.setattr(grid, "measured", measured)
    assert grid.main(["--quick", "--out", str(out)]) == 0
    assert asked == [{"clients.per_round": 100}]
    stale.write_text(whole, encoding="utf-8")


def test_an_unknown_data_set_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        grid.main(["--data", "nothing", "--out", str(tmp_path)])
    assert "--data must be one of ml-100k, marketplace" in capsys.readouterr().err


@pytest.mark.parametrize("data", grid.FULL, ids=lambda d: d.name)
def test_every_point_of_the_grid_is_a_usable_configuration_with_a_name_of_its_own(data):
    names = {}
    for point in data.points():
        config = data.config(point.overrides, 0)
        names.setdefault(grid.slug(data, data.changed(point.overrides)), set()).add(
            config.config_hash()
        )
    assert all(len(hashes) == 1 for hashes in names.values())
    assert len(set().union(*names.values())) == len(names)  # nothing is trained twice
    assert {frozenset(), frozenset(data.private)} < {frozenset(o) for o in _changes(data)}


def _changes(data):
    return [data.changed(point.overrides) for point in data.points()]
