"""The leaderboard from search to page on a small marketplace, and the committed page."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import leaderboard
from experiments.board import figure, final, page, standings
from experiments.board.entries import LEAKY, read_entries
from fedrec.config import Config
from fedrec.evaluation.sums import EvaluationSums
from fedrec.systems import read_sums

FILES = {
    "popularity": '# Popularity.\n[compare]\nsystems = "popularity"\n',
    "ease": (
        '# EASE.\n[model]\nname = "item-item"\n[train]\nmethod = "ease"\nrounds = 1\n'
        '[compare]\nsystems = "federated ease"\n[search]\n"baseline.ease_l2" = [10.0, 30.0]\n'
    ),
    "fedmf": (
        "# FedMF.\n[model]\ndim = 4\n[train]\nrounds = 2\n[central]\nepochs = 1\n[compare]\n"
        'systems = "federated centralised"\n[search]\n"server.table_lr" = [0.1]\n'
    ),
    "later": '# Not run here.\n[compare]\nsystems = "federated"\n',
    "leaky/fedmf": (
        "# FedMF, leaky.\n[model]\ndim = 4\n[train]\nrounds = 1\nnegatives_from = "
        '"legacy-leaky"\n[compare]\nsystems = "federated"\n'
    ),
}
METHODS = ["popularity", "ease", "fedmf"]


class Board:
    """A folder with method files, and what was made of them."""

    def __init__(self, root: Path) -> None:
        self.methods, self.results, self.work = root / "methods", root / "results", root / "work"
        (self.methods / LEAKY).mkdir(parents=True)
        for name, text in FILES.items():
            (self.methods / f"{name}.toml").write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> int:
        places = ["--results", self.results, "--work", self.work, "--methods-from", self.methods]
        return leaderboard.main([*arguments, *map(str, places)])

    def result(self, name: str) -> dict:
        return json.loads((self.results / "quick" / f"{name}.json").read_text())

    def table(self) -> standings.Table:
        honest = [e for e in read_entries(self.methods) if not e.leaky]
        return standings.standings(honest, "quick", self.results / "quick")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    made = Board(tmp_path_factory.mktemp("board"))
    options = ["--data", "quick", "--trials", "2", "--seeds", "0", "1"]
    assert made.start(*METHODS, *options) == 0
    return made


def test_a_result_says_all_that_a_reader_needs(board):
    found = board.result("fedmf")
    assert found["described"]["users"] <= 120
    assert len(found["described"]["split_hash"]) == 16
    federated, twin = found["systems"]["federated"], found["systems"]["centralised"]
    assert federated["trials"] == twin["trials"] == 2
    assert federated["seeds"] == [0, 1]
    assert len(set(federated["config_hashes"])) == 2
    assert set(federated["metrics"]) == set(final.METRICS)
    for metric in federated["metrics"].values():
        assert metric["low"] <= metric["mean"] <= metric["high"]
        assert metric["mean"] == pytest.approx(np.mean(metric["by_seed"]), abs=1e-5)
    assert federated["secure"] == "offered"
    assert federated["cost"]["bytes_up"] > 2 * federated["cost"]["bytes_up_per_client"] > 0
    assert twin["cost"]["bytes_up"] == 0
    assert "not private" in federated["privacy"]["statement"]
    assert list(federated["settings"]) == ["server.table_lr"]


def test_the_settings_are_those_that_validation_prefers(board):
    told = json.loads((board.results / "quick" / "ease.search.json").read_text())
    trials = told["systems"]["ease"]["trials"]
    preferred = max(trials, key=lambda t: t["value"])["settings"]
    assert board.result("ease")["systems"]["ease"]["settings"] == preferred


def test_a_deterministic_baseline_is_fitted_once(board):
    assert board.result("popularity")["systems"]["popularity"]["seeds"] == [0]


def test_federated_ease_is_the_centralised_one(board):
    rows = {row.row: row for row in board.table().rows}
    assert rows["ease.federated"].ratio == pytest.approx(1.0)
    assert rows["ease.federated"].twin.low == pytest.approx(0.0, abs=1e-9)
    assert not rows["ease.federated"].apart


def test_the_best_baseline_is_what_all_are_measured_against(board):
    table = board.table()
    rows = {row.row: row for row in table.rows}
    values = {r: rows[r].value for r in ("popularity.popularity", "ease.ease", "fedmf.centralised")}
    assert table.reference == max(values, key=values.get)
    assert rows[table.reference].against is None
    assert sum(row.p_value is not None for row in table.run) == len(table.run) - 1
    assert [r.value for r in table.rows] == sorted((r.value for r in table.rows), reverse=True)
    assert rows["later.federated"].result is None


def test_corrected_p_values_are_no_smaller(board):
    for row in board.table().run:
        if row.against is not None:
            assert row.p_value >= row.against.p_value


def test_small_p_values_are_told_apart():
    def sums(shift):
        replicates = 50.0 + np.linspace(-1.0, 1.0, 1001) * 2 + shift
        values = {"full.ndcg@10": 50.0 + shift}
        return EvaluationSums(
            values, {"full": 100.0}, {"full.ndcg@10": replicates}, {"full": np.full(1001, 100.0)}
        )

    noise = np.tile([0.005, -0.005], 501)[:1001] * 100
    other = sums(0.0)
    other.replicates["full.ndcg@10"] += noise
    pair = standings.compared(sums(3.0), other)
    assert pair.difference == pytest.approx(0.03)
    # The difference of the means is six standard deviations of its replicates, 0.005.
    assert pair.p_value == pytest.approx(1.97e-9, rel=0.05)
    assert standings.compared(sums(0.0), sums(0.0)).p_value == 1.0


def test_replicates_are_kept_for_two_metrics_only(board):
    sums = read_sums(board.results / "quick" / "fedmf.federated.npz")
    assert set(sums.values) == set(sums.replicates) == set(final.PAIRED)
    assert len(sums.replicates["full.ndcg@10"]) == 50


def test_shorter_trials_are_told(board, tmp_path, monkeypatch):
    """Two trials of a fifth of the rounds; both are then trained in full, and the page says so."""
    text = FILES["fedmf"].replace("rounds = 2", "rounds = 5").replace("[0.1]", "[0.02, 0.1]")
    (tmp_path / "fedmf.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(board, "methods", tmp_path)
    monkeypatch.setattr(board, "results", tmp_path / "results")
    options = ["--data", "quick", "--trials", "3", "--seeds", "0", "--halving"]
    assert board.start("fedmf", *options) == 0
    told = json.loads((tmp_path / "results" / "quick" / "fedmf.search.json").read_text())
    federated = told["systems"]["federated"]
    assert federated["halving"] == {"share": 0.2, "keep": 2}
    assert [t["share"] for t in federated["trials"]] == [0.2] * 3 + [1.0] * 2
    assert "halving" not in told["systems"]["centralised"]  # of one epoch
    assert board.result("fedmf")["systems"]["federated"]["trials_in_full"] == 2
    assert "3, 2 in full" in page.markdown([board.table()], [])


def test_a_second_start_trains_nothing(board, monkeypatch):
    for module in (final, leaderboard):
        monkeypatch.setattr(module, "train_system", pytest.fail, raising=False)
    monkeypatch.setattr("experiments.board.search.train_system", pytest.fail)
    before = board.result("fedmf")
    assert board.start(*METHODS, "--data", "quick", "--trials", "2") == 0
    assert board.result("fedmf") == before


def test_a_result_of_another_file_counts_as_not_run(board, tmp_path):
    text = FILES["fedmf"].replace("rounds = 2", "rounds = 3")
    (tmp_path / "fedmf.toml").write_text(text, encoding="utf-8")
    (entry,) = read_entries(tmp_path)
    assert final.current(entry, "quick", board.results / "quick") is None
    assert final.current(entry, "quick", tmp_path) is None


def test_the_page_shows_every_system_and_what_is_missing(board):
    text = page.markdown([board.table()], [])
    assert "| later | federated | not run yet |" in text
    assert "Not run yet: later." in text
    assert "| ease | federated |" in text
    assert "(this)" in text
    shown = page.html([board.table()], [])
    assert shown.count("<svg") == 1
    assert all(named in shown for _, _, named in figure.KINDS.values())  # the legend
    assert "the same model" in text  # says what a twin is
    assert "not run yet" in shown
    assert "http" not in shown.replace("http://www.w3.org", "")  # nothing from elsewhere


def test_a_twin_is_kept_when_only_the_federation_changes(board, tmp_path, monkeypatch):
    text = FILES["fedmf"].replace("rounds = 2", "rounds = 1")
    (tmp_path / "fedmf.toml").write_text(text, encoding="utf-8")
    shutil.copytree(board.results, tmp_path / "results")
    trained = []
    train = final.train_system

    def noted(system, *more):
        trained.append(system)
        train(system, *more)

    monkeypatch.setattr(final, "train_system", noted)
    before = board.result("fedmf")["systems"]
    monkeypatch.setattr(board, "methods", tmp_path)
    monkeypatch.setattr(board, "results", tmp_path / "results")
    options = ["--data", "quick", "--trials", "2", "--seeds", "0", "1"]
    assert board.start("fedmf", *options) == 0
    after = board.result("fedmf")["systems"]
    assert trained == ["federated", "federated"]
    assert after["centralised"] == before["centralised"]
    assert after["federated"]["rounds"] == 1


def test_leaky_figures_stand_beside_honest_ones(board):
    (entry,) = [e for e in read_entries(board.methods) if e.leaky]
    folder = board.results / "quick" / LEAKY
    trials = {"federated": [final.Trial({}, 0.5, 1.0, "file")]}
    final.finish(entry, "quick", trials, folder, board.work / LEAKY, (0,), lambda line: None)
    found = json.loads((folder / "fedmf.json").read_text())
    assert found["systems"]["federated"]["name"] == "federated-mf-legacy-leaky"
    bad = standings.standings([entry], "quick", folder)
    head, body = page.beside(bad, board.table())
    honest = board.result("fedmf")["systems"]["federated"]["metrics"]["sampled99.hr@10"]["mean"]
    assert body[0][head.index("HR@10, 1+99: leaky") + 1] == f"{honest:.3f}"
    assert page.beside(bad, standings.Table("quick", (), None, {}))[1][0][2] == "not run yet"


def test_an_unknown_method_is_refused(board, capsys):
    assert board.start("nothing", "--data", "quick") == 1
    assert "no such method: nothing" in capsys.readouterr().err


def test_a_method_that_fails_does_not_stop_the_others(board, capsys, monkeypatch):
    (board.methods / "broken.toml").write_text('# Broken.\n[search]\n"no.key" = [1]\n')
    try:
        assert board.start("broken", "popularity", "--data", "quick") == 1
    finally:
        (board.methods / "broken.toml").unlink()
    assert "quick broken: [search] names 'no.key'" in capsys.readouterr().err


def test_secure_aggregation_is_offered_or_refused_with_a_reason():
    assert final.secure_offer(Config()) == "offered"
    assert "touching" in final.secure_offer(Config().with_({"server.rows": "touching"}))
    local = {"privacy.mechanism": "local", "privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}
    assert "is not offered" in final.secure_offer(Config().with_(local))


def test_the_committed_page_is_that_of_the_committed_results():
    tables, leaky = page.tables_of(read_entries(), leaderboard.RESULTS)
    folder = leaderboard.FOLDER
    again = "is not up to date: python experiments/leaderboard.py --page"
    written = (folder / page.MARKDOWN).read_text(encoding="utf-8")
    assert written == page.markdown(tables, leaky), f"{page.MARKDOWN} {again}"
    shown = (folder / page.HTML).read_text(encoding="utf-8")
    grids = [g for t in tables for g in (page.accuracy(t), page.costs(t))]
    for _, body in [*grids, *(page.beside(*pair) for pair in leaky)]:
        for row in body:
            cells = "".join(f"<td>{_escaped(text)}</td>" for text in row)
            assert cells in shown, f"{page.HTML} {again}"


def _escaped(text):
    from markupsafe import escape

    return escape(text)
