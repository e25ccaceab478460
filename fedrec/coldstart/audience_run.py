"""The audience of an item in a finished run, whose simulated devices lie beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedrec.coldstart.audience import Audience, ask_audience
from fedrec.coldstart.devices import device_scorer, stored_personal
from fedrec.config import load_config
from fedrec.errors import CheckpointError, DataError, nearest
from fedrec.models.export import load_model
from fedrec.serving.load import model_directory
from fedrec.training.node import init_personal, prepare


def audience_of(
    run: Path,
    item: str,
    *,
    ranks: Sequence[int] = (10, 20, 50, 100),
    by: Sequence[str] = (),
    fewest: int = 10,
    sample: int = 0,
) -> Audience:
    """Ask the devices of a finished run to whom an item should be shown.

    Args:
        run: its output directory.
        item: identifier; new items are those of split.protocol = "cold-items", whose rows are
            filled as `coldstart.items` says.
        ranks: as `ask_audience`; likewise `by`, `fewest` and `sample`.

    Raises:
        CheckpointError: if there is no model, or the devices of the run do not lie beside it.
        DataError: if the model does not know the item.
        ConfigError: as `ask_audience`.
    """
    run = Path(run).expanduser()
    model = load_model(model_directory(run))
    file = run / "config.toml"
    config = load_config(file) if file.is_file() else model.config
    place = {str(name): at for at, name in enumerate(model.item_ids)}
    if item not in place:
        raise DataError(f"the model knows no item {item!r}.{nearest(item, place)}")
    setup, at = prepare(config), int(model.card.get("selected_round", 0))
    personal = stored_personal(run, setup, at)
    if personal is None:
        derived = setup.method.personal_is_solved or setup.method.before_scoring
        if not derived:
            raise CheckpointError(
                f"the personal parameters of round {at} do not lie in {run / 'clients'}: devices "
                "are asked where they are. Expected a finished run of the in-process engine"
            )
        personal = init_personal(setup, np.arange(setup.population.num_clients))
    mode = "semi-honest" if config.secure.mode == "off" else config.secure.mode
    return ask_audience(
        setup.population,
        device_scorer(setup, model.shared, personal, at),
        place[item],
        ranks=ranks,
        by=by,
        fewest=fewest,
        mode=mode,
        sample=sample,
        seed=config.run.seed,
    )
