"""From the directory of a finished run to a model that recommends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import CheckpointError, DataError, ModelError, nearest
from fedrec.models.build import build_model
from fedrec.models.export import ExportedModel, load_model
from fedrec.models.export_items import read_catalogue, read_counts
from fedrec.models.pretrained import whole
from fedrec.serving.catalogue import Items
from fedrec.serving.past import Diary, Observation
from fedrec.serving.ridge import implicit_ridge, rating_ridge
from fedrec.serving.session import Adaptation, Session
from fedrec.serving.sums import GraphSums, ItemItemSums

WAYS = ("auto", "closed-form", "steps")


@dataclass(frozen=True, eq=False)
class LoadedRecommender:
    """A trained model, ready for sessions.

    Attributes:
        model: as exported.
        items: that it knows.
    """

    model: ExportedModel
    items: Items
    _adaptation: Adaptation

    @property
    def how(self) -> str:
        """How personal parameters follow from events, in words."""
        return self._adaptation.how

    def knows(self, item: str) -> bool:
        """Whether an identifier is that of an item."""
        return str(item) in self.items.place

    def session(
        self,
        *,
        history: Iterable[str | Observation] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session of one user.

        Args:
            history: what the user has met, in the order of time unless times are given.
            attributes: of the user, by name, for models that read them; those left out are
                missing, as in training.

        Raises:
            DataError: for unknown items or events.
            ModelError: for attributes that the model does not read.
        """
        config = self.model.config
        explicit = config.data.feedback == "explicit"
        limits = (config.data.rating_low, config.data.rating_high) if explicit else None
        diary = Diary(self.items.place, config.split.train_event, limits)
        return Session(self._of_user(attributes or {}), self.items, diary, history)

    def _of_user(self, attributes: Mapping[str, Any]) -> Adaptation:
        """Return the adaptation for a user of these attributes."""
        for name in attributes:
            if name not in self._adaptation.attributes:
                known = self._adaptation.attributes
                hint = nearest(name, known) if known else " It reads none."
                raise ModelError(
                    f"model.name = {self.model.config.model.name!r} reads no user attribute "
                    f"{name!r}.{hint}"
                )
        return self._adaptation


def load_recommender(
    run: str | Path, *, popularity: Mapping[str, float] | None = None, adapt: str = "auto"
) -> LoadedRecommender:
    """Load the model that a finished run has exported.

    Args:
        run: directory of the run, or its directory 'model'.
        popularity: item -> count, to recommend from where nothing is known of a user, for
            example from the shop's own public counts; None: the counts of the run, if it has
            told them.
        adapt: how matrix factorisation follows events: "closed-form", "steps" (of local
            training, as in the run), or "auto".

    Returns:
        A model for sessions.

    Raises:
        CheckpointError: if there is no model there, or a damaged one.
        ModelError: if the model cannot be served, with the reason.
        DataError: if `popularity` names no item of the model.
    """
    if adapt not in WAYS:
        raise ModelError(f"adapt = {adapt!r}: expected one of {', '.join(WAYS)}")
    directory = model_directory(Path(run).expanduser())
    model = load_model(directory)
    counts = read_counts(directory) if popularity is None else _counts(model, popularity)
    data = model.config.data.name
    items = Items(model.item_ids, read_catalogue(directory), counts, data)
    return LoadedRecommender(model, items, _adaptation(model, adapt))


def model_directory(run: Path) -> Path:
    """Return the directory of the model of a run.

    Raises:
        CheckpointError: if there is none, naming those of a comparison.
    """
    for place in (run / "model", run):
        if (place / "shared.ckpt").is_file():
            return place
    parts = sorted(str(p.parent) for p in run.glob("systems/*/model"))
    hint = f"It holds a comparison: choose one of {', '.join(parts)}" if parts else (
        "Expected the output directory of a finished 'fedrec run'"
    )  # fmt: skip
    raise CheckpointError(f"there is no model in {run}. {hint}")


def _counts(model: ExportedModel, popularity: Mapping[str, float]) -> NDArray[np.float64]:
    counts = np.array([popularity.get(str(name), 0.0) for name in model.item_ids], np.float64)
    if not counts.any():
        raise DataError(
            f"popularity has no count above 0 for any of the {len(counts)} items of the model: "
            f"expected identifiers such as {str(model.item_ids[0])!r}"
        )
    return counts


def _adaptation(model: ExportedModel, adapt: str) -> Adaptation:
    config = model.config
    name, shared = config.model.name, whole(model.shared)
    if name == "item-item":
        from fedrec.models.item_item import ItemItem

        built = build_model(config)
        assert isinstance(built, ItemItem)  # noqa: S101
        return ItemItemSums(built, shared.tables["item"])
    if name == "lightgcn":
        return GraphSums(shared.tables["item"])
    if name == "mf" and (adapt == "closed-form" or (adapt == "auto" and _solves(config))):
        if config.data.feedback == "explicit":
            limits = (config.data.rating_low, config.data.rating_high)
            return rating_ridge(shared, config.train.ridge, limits)
        return implicit_ridge(shared.tables["item"], config.train.alpha, config.train.ridge)
    raise ModelError(f"model.name = {name!r} cannot be served yet")


def _solves(config: Config) -> bool:
    return True
