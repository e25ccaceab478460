"""An exported model is read back as it was written, or refused."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.errors import CheckpointError
from fedrec.models.export import export_model, load_model
from fedrec.params import Shared

IDS = np.array(["a", 'b"\n', "ü"], dtype=object)


def write(directory: Path) -> Shared:
    rows = Interactions(np.array([0], np.int32), np.array([0], np.int32))
    dataset = Dataset("toy", rows, Catalogue(IDS), Catalogue(np.array(["u"], dtype=object)))
    table = np.arange(6, dtype=np.float32).reshape(3, 2) / 7
    shared = Shared({"item": table}, {"mlp_0/kernel": np.ones((2, 1), np.float32)})
    export_model(directory, from_flat({"model.dim": 2}), dataset, shared, {"name": "federated-mf"})
    return shared


def test_round_trip(tmp_path: Path) -> None:
    shared = write(tmp_path / "model")
    back = load_model(tmp_path / "model")
    assert back.config.model.dim == 2
    assert back.item_ids.tolist() == IDS.tolist()
    assert back.card == {"name": "federated-mf"}
    assert back.shared.tables["item"].tobytes() == shared.tables["item"].tobytes()
    assert back.shared.weights["mlp_0/kernel"].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("name", ["shared.ckpt", "items.jsonl", "card.json"])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_text("{broken")
    with pytest.raises(CheckpointError, match="is corrupted|cannot be read"):
        load_model(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="cannot"):
        load_model(tmp_path)
