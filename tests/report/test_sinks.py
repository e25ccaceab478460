import io

import pytest
from rich.console import Console

from fedrec.config import load_config
from fedrec.report.progress import Progress, chosen_metric, clock, done_line
from fedrec.report.sinks import open_sinks
from tests.sample_run import history, metrics

START = {"event": "system-start", "system": "federated-mf", "seed": 1, "rounds": 20}
DONE = {
    "event": "system-done",
    "system": "federated-mf",
    "seed": 1,
    "seconds": 3.21,
    "metrics": metrics(0.118, 0.061),
}


def events(rounds: int = 20):
    yield {"event": "note", "text": "943 users"}
    yield START
    for line in history(rounds, 1, 0.06):
        yield {"event": "round", **line}
    yield DONE


def shown(tmp_path, terminal: bool, width: int = 120) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    with open_sinks(load_config(None, {}), tmp_path, console) as on_event:
        for event in events():
            on_event(event)
    return console.file.getvalue()


def test_plain_lines_when_not_on_a_terminal(tmp_path):
    text = shown(tmp_path, terminal=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "943 users"
    assert lines[1] == "federated-mf, seed 1: started"
    assert sum(": round " in line for line in lines) == 10
    assert "round 9: node failed: node 3: connection lost" in lines
    assert "round 20/20  loss" in lines[-2]
    assert "left" not in lines[-2]
    assert lines[-1] == "federated-mf, seed 1: done in 3.2 s, test hr@10 0.1180  ndcg@10 0.0610"


@pytest.mark.parametrize("width", [80, 140])
def test_a_live_line_on_a_terminal(tmp_path, width):
    text = shown(tmp_path, terminal=True, width=width)
    assert "\x1b[" in text
    assert "done in 3.2 s" in text
    assert "node failed" in text


def test_nothing_is_left_hanging_after_an_error(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with pytest.raises(KeyboardInterrupt), open_sinks(load_config(None, {}), tmp_path, console):
        raise KeyboardInterrupt
    assert (
        console.file.getvalue().rstrip().endswith("\x1b[?25h")
        or "\x1b[?25h" in console.file.getvalue()
    )


def test_progress_follows_the_best_round():
    progress = Progress("ndcg@10").start(START)
    for number, value in ((5, 0.03), (10, 0.06), (15, 0.05)):
        line = {"event": "round", "round": number, "loss": 0.5, "valid": {"full.ndcg@10": value}}
        progress = progress.round(line, now=2.0 * number)
    assert progress.best == (0.06, 10)
    assert progress.metric == 0.05
    assert progress.facts() == "loss 0.5000  valid ndcg@10 0.0500  best 0.0600 in round 10"
    assert progress.facts(short=True) == "loss 0.5000  ndcg@10 0.0500"


def test_a_low_rmse_is_the_best():
    progress = Progress("rmse").start(START)
    for number, value in ((1, 1.0), (2, 0.9), (3, 0.95)):
        progress = progress.round(
            {"round": number, "valid": {"rating": {"rmse": value}}}, float(number)
        )
    assert progress.best == (0.9, 2)


def test_time_left_is_the_recent_pace_times_the_rounds_that_remain():
    progress = Progress("ndcg@10").start(START)
    assert progress.round({"round": 1}, 100.0).seconds_left() is None
    for number in (1, 2, 3):
        progress = progress.round({"round": number}, 100.0 + 2.0 * number)
    assert progress.seconds_left() == pytest.approx(2.0 * 17)


def test_full_ranking_is_preferred_and_groups_are_left_aside():
    flat = {"sampled99.hr@10": 0.6, "full.hr@10": 0.1, "groups.gender=F.full.hr@10": 0.2}
    assert chosen_metric(flat, "hr@10") == 0.1
    assert chosen_metric({"sampled99": {"hr@10": 0.6}}, "hr@10") == 0.6
    assert chosen_metric(flat, "mrr@10") is None


def test_a_baseline_has_one_line():
    assert (
        done_line({"system": "ease", "seconds": 1.0, "metrics": {}}, "ndcg@10")
        == "ease: done in 1.0 s"
    )


def test_clock():
    assert [clock(s) for s in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]


def test_tensorboard_files_hold_the_scalars(tmp_path):
    tf = pytest.importorskip("tensorflow")
    console = Console(file=io.StringIO(), force_terminal=False)
    config = load_config(None, {"run.tensorboard": True})
    with open_sinks(config, tmp_path, console) as on_event:
        for event in events(10):
            on_event(event)
    (file,) = (tmp_path / "tensorboard" / "federated-mf-seed1").iterdir()
    found = {}
    for record in tf.compat.v1.train.summary_iterator(str(file)):
        for value in record.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            found.setdefault(value.tag, {})[record.step] = float(tf.make_ndarray(value.tensor))
    assert len(found["train/loss"]) == 10
    assert set(found["valid/full.ndcg@10"]) == {5, 10}
    assert found["round/clients"][1] == 942
