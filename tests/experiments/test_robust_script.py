"""experiments/robust.py: what it runs, what it measures, what it keeps."""

import json

from experiments import robust
from fedrec.config import from_flat

BASE = {
    "data.name": "marketplace", "data.users": 50, "data.items": 60, "data.merchants": 2,
    "data.events_per_user": 12.0, "model.dim": 4, "train.rounds": 1, "evaluate.bootstrap": 20,
    "evaluate.sampled": 0, "robust.malicious": 0.1, "compare.seeds": "0 3",
}  # fmt: skip


def test_every_attack_meets_every_defence_with_one_target():
    found = robust.cells(from_flat(BASE))
    pairs = [(c.run.seed, c.robust.attack, c.robust.defence) for c in found]
    assert len(set(pairs)) == len(pairs) == 2 * len(robust.ATTACKS) * len(robust.DEFENCES)
    assert pairs[0] == (0, "off", "off")
    assert len({c.robust.target for c in found}) == 1
    assert found[0].robust.target >= 0  # so that calm runs are measured too
    assert {c.robust.defence for c in found if c.robust.norm} == {"norm-bound", "row-clip"}


def test_a_cell_is_measured_and_kept(tmp_path):
    config = next(c for c in robust.cells(from_flat(BASE)) if c.robust.attack == "replace")
    run = robust.measure(config, "in-process")
    assert (run["attack"], run["defence"], run["seed"], run["malicious"]) == (
        "replace",
        "off",
        0,
        5,
    )
    assert 0 <= run["exposure_interval"][0] <= run["exposure"] <= run["exposure_interval"][1] <= 1
    assert 0 < run["accuracy"] < 1
    assert run["bytes_up_per_client"] > 0
    file = tmp_path / "robust.json"
    assert robust.known(file) == {}
    file.write_text(json.dumps({"runs": [run]}))
    assert robust.known(file) == {config.config_hash(): json.loads(json.dumps(run))}
