"""``fedrec audience``: a run's own devices are asked, and errors are one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedrec.cli.app import main
from fedrec.coldstart.audience_run import audience_of
from fedrec.coldstart.devices import device_scorer, stored_personal
from fedrec.config import from_flat
from fedrec.errors import CheckpointError
from fedrec.models.export import load_model
from fedrec.run import run
from fedrec.training.node import prepare

CONFIG = {
    "data.name": "marketplace", "data.users": 40, "data.items": 50, "data.events_per_user": 16.0,
    "split.protocol": "cold-items", "train.negatives_from": "known", "coldstart.items": "ridge",
    "model.dim": 4, "train.rounds": 2, "evaluate.every": 1, "evaluate.sampled": 0,
    "evaluate.bootstrap": 0, "engine.nodes": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audience") / "run"
    run(from_flat(CONFIG), out=out)
    return out


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(["audience", *words])
    out = capsys.readouterr()
    return int(str(end.value.code)), out.out + out.err


def test_a_new_item_is_scored_by_what_each_device_holds(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = prepare(from_flat(CONFIG))
    new = setup.population.new_items[0]
    name = str(setup.population.catalogue.ids[new])
    code, text = said(capsys, str(done), "--item", name, "--ranks", "10 25", "--fewest", "3",
                      "--by", "gender", "--users", "40", "--json")  # fmt: skip
    assert code == 0
    told = json.loads(text)
    model = load_model(done / "model")
    at = int(model.card["selected_round"])
    personal = stored_personal(done, setup, at)
    assert personal is not None
    assert np.abs(personal.values["user"]).sum(1).min() > 0  # of all three nodes
    scores = device_scorer(setup, model.shared, personal, at)(np.arange(40))
    ranks = []
    for user in range(40):
        met = setup.population.items[slice(*setup.population.indptr[user : user + 2])]
        left = np.setdiff1d(np.arange(scores.shape[1]), [*met, new])
        ranks.append(1 + int((scores[user, left] >= scores[user, new]).sum()))
    expected = [sum(r <= rank for r in ranks) // 3 * 3 for rank in (10, 25)]
    assert told["everyone"] == {"clients": 39, "within": expected}
    assert told["asked"] == 40
    assert set(told["segments"]["gender"]) == {"(other or unknown)", "female", "male"}


def test_in_words_and_refusals(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, str(done), "--item", "item-01", "--sample", "6", "--users", "20")
    assert (code, text.splitlines()[0][:24]) == (0, "item-01: 6 devices asked")
    assert "in steps of 10: no device's rank" in text
    code, text = said(capsys, str(done), "--item", "item-1")
    assert code == 2
    assert "knows no item 'item-1'. Did you mean" in text
    code, text = said(capsys, str(done), "--item", "item-01", "--ranks", "few")
    assert "expected whole numbers" in text


def test_devices_that_are_elsewhere(done: Path) -> None:
    (done / "clients").rename(done / "elsewhere")
    try:
        with pytest.raises(CheckpointError, match="devices are asked where they are"):
            audience_of(done, "item-01")
    finally:
        (done / "elsewhere").rename(done / "clients")


def test_a_run_that_is_not_there_is_told_before_tensorflow_is_loaded(tmp_path: Path) -> None:
    """In a process of its own: here TensorFlow is loaded long since."""
    code = (
        "import sys\n"
        "from fedrec.cli import main\n"
        "try:\n"
        f"    main(['audience', {str(tmp_path / 'nowhere')!r}, '--item', 'tea'])\n"
        "finally:\n"
        "    print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no model in" in done.stderr
    assert done.stdout.strip() == "False"
