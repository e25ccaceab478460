"""The tables of the READMEs belong to the committed results; experiments are usable."""

import json
from pathlib import Path

import pytest

from experiments import tables
from fedrec.config import load_config
from fedrec.results import save_result
from fedrec.systems import check_systems, names_of
from tests.sample_run import sample_result

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "experiments").glob("*.toml"))


@pytest.mark.parametrize("file", tables.PARTS, ids=str)
def test_the_tables_are_up_to_date(file):
    written = (ROOT / file).read_text(encoding="utf-8")
    assert tables.filled(file) == written, "run: python experiments/tables.py --write"


def test_every_result_belongs_to_an_experiment():
    assert tables.check_experiments() == []


@pytest.mark.parametrize("name", tables.results())
def test_committed_results_are_of_their_experiment_and_did_not_leak(name):
    result = tables.results()[name]
    now = load_config(ROOT / "experiments" / f"{name}.toml").flat()
    neutral = ("run.out", "run.tensorboard", "data.cache", "engine.")
    changed = {
        key: (value, now[key])
        for key, value in result.config.items()
        if key in now and now[key] != value and not key.startswith(neutral)
    }
    assert changed == {}, "the experiment has changed since: run it again"
    assert result.leak_guard is None or result.leak_guard["passed"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_an_experiment_says_what_it_asks_and_can_be_started(file):
    assert len(tables.question(file.stem)) > 20
    config = load_config(file)
    check_systems(names_of(config), config)
    words = file.read_text(encoding="utf-8")
    assert f"experiments/{file.name}" in words  # how it is run stands in the file


SPEED = {
    "ml-100k": {"round_s_median": 0.514, "compile_s": 9.0},
    "ml-1m-size": {"round_s_median": 4.2, "peak_rss_mib": 2345.6, "evaluate_s_median": 1.5},
    "start": {"help_s_median": 0.41, "data_list_s_median": 0.5},
    "machine": {"cores": 2, "processor": "Example CPU", "python": "3.11.9", "tensorflow": "2.21"},
}
ENGINES = {
    "limit": 1e-5,
    "rounds": 3,
    "runs": [
        {"run": "in-process, 1 node", "seconds": 9.6, "difference": 0.0},
        {"run": "ray, 2 nodes", "seconds": 61.2, "difference": 3.4e-7},
    ],
    "machine": SPEED["machine"],
}


def attacked(attack, defence, seed, exposure, accuracy):
    ends = {
        "exposure_interval": [0.0, 1.0],
        "accuracy_interval": [accuracy - 0.01, accuracy + 0.01],
    }
    return {"attack": attack, "defence": defence, "seed": seed, "exposure": exposure,
            "accuracy": accuracy, "k": 10, "malicious": 0 if attack == "off" else 47,
            "seconds": 30.0, **ends}  # fmt: skip


ROBUST = {
    "norms": {"norm-bound": 8.0, "row-clip": 0.3},
    "machine": SPEED["machine"],
    "runs": [
        attacked("off", "off", 0, 0.0, 0.05),
        attacked("off", "off", 1, 0.0, 0.07),
        attacked("off", "median", 0, 0.0, 0.045),
        attacked("promote", "off", 0, 0.9, 0.03),
        attacked("promote", "median", 0, 0.01, 0.066),
    ],
}


@pytest.fixture
def project(tmp_path):
    """A project with results, and READMEs with nothing but markers."""
    results = tmp_path / "experiments" / "results"
    results.mkdir(parents=True)
    (save_result(sample_result(), results)).rename(results / "quickstart.json")
    (results / "speed.json").write_text(json.dumps(SPEED))
    (results / "engines.json").write_text(json.dumps(ENGINES))
    (results / "robust.json").write_text(json.dumps(ROBUST))
    question = "# What does it cost?\n# Words.\n\n[run]\nname = 'quickstart'\n"
    (tmp_path / "experiments" / "quickstart.toml").write_text(question)
    (tmp_path / "experiments" / "other.toml").write_text("# Something else, without results.\n")
    for file, parts in tables.PARTS.items():
        text = "".join(f"before\n<!-- {n}:begin -->\nold\n<!-- {n}:end -->\nafter\n" for n in parts)
        (tmp_path / file).write_text(text)
    return tmp_path


def test_tables_are_written_once(project, capsys):
    assert tables.main([], project) == 1
    assert "README.md is not up to date" in capsys.readouterr().err
    assert tables.main(["--write"], project) == 0
    assert tables.main([], project) == 0
    text = (project / "README.md").read_text()
    assert text.startswith("before\n<!-- quickstart:begin -->\n**On ml-100k, federated training")
    assert text.endswith("<!-- quickstart:end -->\nafter\n")
    assert "old" not in text


def test_the_quickstart_table(project):
    text = tables.quickstart_table(project)
    assert "| federated-mf | 0.118 ±0.021 |" in text
    assert "▼ 0.082 ±0.021" in text
    assert "Leak guard: training without communication does not beat chance" in text
    assert (
        "leave-last-out split `9f2b6c0de8a14757`; 3 seeds; configuration `5a0c1be2d9f84731`" in text
    )
    assert "2 cores of Example CPU, Python 3.11.9" in text


def test_the_table_of_experiments(project):
    lines = tables.experiments_table(project).splitlines()
    assert lines[2].startswith(
        "| [quickstart](quickstart.toml) | What does it cost? | [On ml-100k, federated training"
    )
    assert (
        lines[3] == "| [other](other.toml) | Something else, without results. | not recorded |  |"
    )
    assert tables.details(project).startswith("### quickstart\n\n**On ml-100k")


def test_the_measurements(project):
    speed = tables.speed_table(project)
    assert "| one round, all 943 clients of ML-100K | 0.51 s | at most 0.6 s |" in speed
    assert "| memory of it, at its peak | 2,346 MiB | at most 4,096 MiB |" in speed
    engines = tables.engines_table(project)
    assert "| in-process, 1 node | 0 | 10 s |" in engines
    assert "| ray, 2 nodes | 3.4e-07 | 61 s |" in engines
    assert "3 rounds; at most 1e-05 is promised." in engines


def test_the_robust_table(project):
    lines = tables.robust_table(project).splitlines()
    assert lines[0] == "| defence | no attack: NDCG@10 | promote: ER@10, NDCG@10 |"
    assert lines[2] == "| off | 0.060 | 90.0%, 0.030 (−50%) |"
    assert lines[3] == "| median | 0.045 (−25%) | 1.0%, 0.066 (+10%) |"
    assert lines[5].startswith("47 malicious clients; in brackets the change of NDCG@10")
    assert "±0.010; seeds 0, 1; norm-bound at 8, row-clip at 0.3. Took 2 min" in lines[5]


def priced(x, epsilon, accuracy):
    value = {"mean": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    return {"panel": "epsilon", "series": "noise", "x": x, "epsilon": epsilon, "seconds": 60.0,
            "bytes_up_per_client": 18000.0, "metrics": {"ndcg@10": value, "hr@10": value}}  # fmt: skip


def test_the_table_of_privacy_and_accuracy(project):
    about = {"clients": 9000, "items": 50, "interactions": 70000, "protocol": "leave-last-out",
             "split_hash": "9f2b6c0de8a14757"}  # fmt: skip
    level = {"popularity": {"ndcg@10": {"mean": 0.1}}}
    points = [priced(1, 0.9, 0.105), priced(4, 3.999, 0.15), priced(None, None, 0.2)]
    data = {"data": "shop", "about": about, "levels": level, "seeds": [0], "seconds": 180.0,
            "points": points}  # fmt: skip
    file = project / "experiments" / "results" / "privacy_utility.json"
    assert tables.privacy_table(project) == ""
    file.write_text(json.dumps({"machine": SPEED["machine"], "data": [data]}))
    lines = tables.privacy_table(project).splitlines()
    assert lines[0].startswith(
        "**shop.** NDCG@10 is clearly above popularity (the 95% interval over users) from ε = 4; "
        "at ε = 4 NDCG@10 is 75% of that with clipping alone. 9,000 clients, 50 items, "
    )
    assert (
        lines[4] == "| epsilon | noise | 1 | 0.90 | 18,000 | 0.105 ±0.010 | 0.105 ±0.010 | 60 s |"
    )
    assert lines[6].startswith("| epsilon | noise | ∞ | ∞ | 18,000 | 0.200 ±0.010 |")
    data["points"] = points[:1] + points[2:]
    data["points"][0]["metrics"]["ndcg@10"]["low"] = 0.09
    file.write_text(json.dumps({"machine": SPEED["machine"], "data": [data]}))
    assert "At no ε measured here is NDCG@10 clearly above" in tables.privacy_table(project)


def test_the_table_of_secure_rounds(project):
    folder = project / "experiments" / "results" / "secure"
    folder.mkdir(exist_ok=True)
    (folder / "round.json").unlink(missing_ok=True)
    assert tables.secure_round_table(project) == ""
    spent = {f"{mode}{part}": {"cpu_s": seconds, "clock_s": 9.0} for mode, part, seconds in (
        ("plain", "", 0.5), ("secure", "", 15.5), ("plain", "_valid", 0.06),
        ("secure", "_valid", 8.8), ("plain", "_test", 0.07), ("secure", "_test", 10.7),
        ("paired", "_test", 14.7))}  # fmt: skip
    whole = {"what": "all users", "gate": 25.0, "test": True, "more_cpu_s": 15.0,
             "largest_difference": 5.4e-11, **spent}  # fmt: skip
    untested = {"what": "some users", "gate": 25.0, "test": False, "more_cpu_s": 15.0, **spent}
    content = {"machine": SPEED["machine"], "cases": [whole, untested]}
    (folder / "round.json").write_text(json.dumps(content))
    lines = tables.secure_round_table(project).splitlines()
    assert lines[2] == (
        "| all users | 0.50, 15.50 s | 15.00 s (25) | 0.06, 8.80 s | 0.07, 10.70, 14.70 s | 5e-11 |"
    )
    assert lines[3].endswith("| 0.06, 8.80 s | – | – |")


def test_without_results_there_is_nothing_to_say(project):
    for file in (project / "experiments" / "results").iterdir():
        file.unlink()
    for write in (
        tables.quickstart_table,
        tables.details,
        tables.speed_table,
        tables.engines_table,
        tables.robust_table,
    ):
        assert write(project) == ""


def test_missing_markers_are_named(project):
    (project / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines <!-- quickstart:begin -->"):
        tables.main([], project)
