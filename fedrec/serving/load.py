"""From the directory of a finished run to a model that recommends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_features import ATTRIBUTE_MODELS
from fedrec.config_graph import GRAPH_MODELS
from fedrec.config_tasks import TASK_MODELS, has_local_heads
from fedrec.data.interactions import Catalogue
from fedrec.errors import CheckpointError, DataError, ModelError, nearest
from fedrec.models.adapted import as_configured
from fedrec.models.build import build_model
from fedrec.models.export import ExportedModel, load_model
from fedrec.models.export_features import read_features
from fedrec.models.export_items import read_catalogue, read_counts
from fedrec.models.pretrained import whole
from fedrec.models.recommender import bound
from fedrec.serving.catalogue import Items
from fedrec.serving.learnt import AUTO, Learnt
from fedrec.serving.past import Diary, Observation
from fedrec.serving.ridge import implicit_ridge, rating_ridge
from fedrec.serving.session import Adaptation, Session
from fedrec.serving.sums import GraphSums, ItemItemSums

if TYPE_CHECKING:
    from fedrec.models.item_item import ItemItem

SOLVED = ("fcf", "ials")
"""Methods that solve user vectors in closed form, as a session then does."""
_ONE = np.array(["user"], dtype=object)

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
    _learnt: Learnt

    @property
    def starts(self) -> tuple[str, ...]:
        """Strategies that a session can begin with, beside "model" and "auto"."""
        return self._learnt.names

    @property
    def how(self) -> str:
        """How personal parameters follow from events, in words."""
        return self._learnt.own.how

    def knows(self, item: str) -> bool:
        """Whether an identifier is that of an item."""
        return str(item) in self.items.place

    def session(
        self,
        *,
        history: Iterable[str | Observation] = (),
        attributes: Mapping[str, Any] | None = None,
        start: str = AUTO,
    ) -> Session:
        """Begin a session of one user.

        Args:
            history: what the user has met, in the order of time unless times are given.
            attributes: of the user, by name, for models that read them; those left out are
                missing, as in training.
            start: a strategy for users of whom little is known, of those in `starts`
                ("prototypes", "popularity", ...); "model": as the model begins by itself;
                "auto": "mixture" where the run has learnt one, else "model".

        Raises:
            DataError: for unknown items or events.
            ModelError: for attributes that nothing reads, or a start that was not learnt.
            CheckpointError: if what the run has learnt of a start is damaged.
        """
        config = self.model.config
        explicit = config.data.feedback == "explicit"
        limits = (config.data.rating_low, config.data.rating_high) if explicit else None
        diary = Diary(self.items.place, config.split.train_event, limits)
        name, chosen = self._learnt.choose(start)
        own = self._of_user(chosen, attributes or {}, name)
        return Session(own, self.items, diary, history, name)

    def _of_user(self, chosen: Adaptation, attributes: Mapping[str, Any], start: str) -> Adaptation:
        """Return an adaptation for a user of these attributes."""
        known = chosen.attributes
        for name in attributes:
            if name not in known:
                hint = nearest(name, known) if known else " It reads none."
                reader = f"model.name = {self.model.config.model.name!r}"
                reader = f"the start {start!r}" if start else reader
                raise ModelError(f"{reader} reads no user attribute {name!r}.{hint}")
        return chosen.of_user(attributes) if known else chosen


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
            training), or "auto", as the run itself made user vectors.

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
    own = _adaptation(model, directory, adapt)
    return LoadedRecommender(model, items, Learnt(model.config, directory, own, counts))


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


def needs_tensorflow(config: Config, adapt: str = "auto") -> bool:
    """Whether sessions of a run's model need TensorFlow; those of sums and closed forms do not."""
    if config.model.name in ("item-item", *GRAPH_MODELS):
        return False
    solved = adapt == "auto" and config.train.method in SOLVED
    return not (config.model.name == "mf" and (solved or adapt == "closed-form"))


def _adaptation(model: ExportedModel, directory: Path, adapt: str) -> Adaptation:
    """Return how this model follows events."""
    config, name = model.config, model.config.model.name
    if adapt == "closed-form" and name != "mf":
        raise ModelError(
            f"adapt = 'closed-form' is for model.name = 'mf', not {name!r}: leave it out"
        )
    if config.model.local_layers:
        raise ModelError(
            f"model.local_layers = {config.model.local_layers!r} stayed with the clients that "
            "trained them, so an exported model lacks them and cannot be served. Train with "
            "model.local_layers = ''"
        )
    if name in TASK_MODELS and has_local_heads(config):
        raise ModelError(
            f"model.local_heads = {config.model.local_heads!r}: the heads stayed with the clients "
            "that trained them, so an exported model lacks them and cannot be served. Train with "
            "model.local_heads = 'false'"
        )
    if name == "item-item":
        return ItemItemSums(cast("ItemItem", build_model(config)), model.shared.tables["item"])
    if name in GRAPH_MODELS:
        return GraphSums(model.shared.tables["item"])
    if not needs_tensorflow(config, adapt):
        shared = whole(model.shared)
        if config.data.feedback == "explicit":
            limits = (config.data.rating_low, config.data.rating_high)
            return rating_ridge(shared, config.train.ridge, limits)
        return implicit_ridge(shared.tables["item"], config.train.alpha, config.train.ridge)
    return _trained(model, directory)


def _trained(model: ExportedModel, directory: Path) -> Adaptation:
    """Return the adaptation of a model that is trained, with the catalogues it was bound to."""
    from fedrec.models.features import Features
    from fedrec.serving.trained import trained, with_features

    config = model.config
    built: Any = as_configured(config, build_model(config))
    if config.model.name in ATTRIBUTE_MODELS:
        known = read_features(directory)
        width = len(known.profile({}))
        users = Features(np.zeros((1, width), np.float32), known.fields)
        built, more = with_features(built, known.items, users), {
            "features": known.items.fields, "rules": known
        }  # fmt: skip
        return trained(config, built, model.shared, **more)
    if config.model.name == "keras" and hasattr(built, "bound"):
        raise ModelError(
            f"model.source = {config.model.source!r} reads catalogues (it has a method 'bound'), "
            "which are not exported with a model of your own: it cannot be served"
        )
    return trained(config, bound(built, Catalogue(model.item_ids), Catalogue(_ONE)), model.shared)
