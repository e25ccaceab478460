"""Checkpoints are restored whole, or refused with one clear message."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.errors import CheckpointError
from fedrec.params import Shared
from server.checkpoint import Best, Checkpoint, ServerState, load_checkpoint, save_checkpoint


def shared(value: float) -> Shared:
    return Shared({"item": np.full((2, 2), value, np.float32)}, {"b": np.zeros(1, np.float32)})


def checkpoint(best: Best | None = None) -> Checkpoint:
    state = ServerState(7, shared(0.1), best, "session", "hosting")
    return Checkpoint(state, {"table.0": np.array(7)}, {"round": 7, "loss": 0.5})


@pytest.mark.parametrize("best", [None, Best(5, 0.25, shared(0.2))])
def test_round_trip(tmp_path: Path, best: Best | None) -> None:
    save_checkpoint(tmp_path / "c", checkpoint(best), "hash")
    back = load_checkpoint(tmp_path / "c", "hash")
    assert (back.state.round_number, back.state.session, back.state.hosting) == (
        7, "session", "hosting",
    )  # fmt: skip
    assert back.line == {"round": 7, "loss": 0.5}
    assert back.optimizer["table.0"] == 7
    assert back.state.shared.tables["item"].tobytes() == shared(0.1).tables["item"].tobytes()
    if best is None:
        assert back.state.best is None
        assert back.state.selected_round == -1
    else:
        assert back.state.best is not None
        assert (back.state.best.round_number, back.state.best.value) == (5, 0.25)
        assert back.state.best.shared.tables["item"][0, 0] == np.float32(0.2)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", checkpoint(), "hash")
    with pytest.raises(CheckpointError, match="another configuration .*--overwrite"):
        load_checkpoint(tmp_path / "c", "other")


def test_a_corrupted_file_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", checkpoint(), "hash")
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="is corrupted"):
        load_checkpoint(tmp_path / "c", "hash")
