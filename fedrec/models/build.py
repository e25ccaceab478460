"""From the configuration to a model."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedrec.config import Config, integers
from fedrec.config_features import ATTRIBUTE_MODELS
from fedrec.config_graph import GRAPH_MODELS
from fedrec.config_personal import META
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.config_tasks import TASK_MODELS, has_local_heads, task_weights
from fedrec.errors import ModelError, nearest
from fedrec.models.recommender import Recommender

MODELS = (
    *("mf", "ncf", "head", "additive", "item-item", "keras"),
    *(*GRAPH_MODELS, *SEQUENCE_MODELS, *ATTRIBUTE_MODELS, *TASK_MODELS),
)


def build_model(config: Config) -> Recommender:
    """Return the model that `config.model` names, its item rows anchored if asked.

    Its personal parameters have a shared start where `train.method` learns one.

    Raises:
        ModelError: for an unknown name, a loss that the model does not have, or a
            source that cannot be imported or does not build a recommender, or one
            that train.precision = "mixed" does not fit.
    """
    if config.model.anchor:
        from fedrec.models.anchored import Anchored

        return Anchored(_localised(config), config.model.anchor)
    if config.train.method in META:
        from fedrec.models.started import with_start

        return with_start(_localised(config), by_gradient=config.train.method == "fomaml")
    return _localised(config)


def _localised(config: Config) -> Recommender:
    """Return the model, with layers that stay with its clients if asked."""
    from fedrec.models.localised import Localised

    layers = tuple(config.model.local_layers.replace(",", " ").split())
    return Localised(_build(config), layers) if layers else _build(config)


def _build(config: Config) -> Recommender:
    model = config.model
    if model.name not in MODELS:
        raise ModelError(f"unknown model.name {model.name!r}.{nearest(model.name, MODELS)}")
    explicit = config.data.feedback == "explicit"
    if model.name == "mf":
        from fedrec.models.mf import MatrixFactorisation

        limits = (config.data.rating_low, config.data.rating_high)
        return MatrixFactorisation(model.dim, model.loss, model.init, explicit, limits)
    if model.name in SEQUENCE_MODELS:
        return _in_precision(_sequence(config), config)
    if model.name in ATTRIBUTE_MODELS:
        return _in_precision(_with_attributes(config), config)
    if model.name == "item-item":
        from fedrec.models.item_item import ItemItem

        knn = config.train.method == "item-knn"
        if knn:
            return ItemItem(config.baseline.knn_k, model.recent)
        return ItemItem(0, model.recent, config.baseline.ease_decay)
    if model.name in GRAPH_MODELS:
        from fedrec.models.lightgcn import LightGCN

        return LightGCN(model.dim, model.init, model.leave_out)
    if model.loss == "bpr":
        raise ModelError(f"model.loss = 'bpr' is for model.name = 'mf', not {model.name!r}")
    if model.name in ("head", "additive"):
        return _headed(config)
    if model.name in TASK_MODELS:
        return _in_precision(_of_tasks(config), config)
    if model.name == "ncf":
        from fedrec.models.ncf import build_ncf

        with _seeded(config.run.seed):
            ncf = build_ncf(model.dim, integers(config, "model.mlp"), model.loss, model.init)
            return _in_precision(ncf, config)
    builder = from_source(model.source, "model.source")
    with _seeded(config.run.seed):
        return _in_precision(_checked(builder(config), config), config)


def _headed(config: Config) -> Recommender:
    """Return the model with a local head that `config.model` names."""
    from fedrec.models.additive import Additive
    from fedrec.models.head import ScoreHead

    model = config.model
    if model.loss != "logistic":
        raise ModelError(
            f"model.name = {model.name!r} needs model.loss = 'logistic', not {model.loss!r}: it "
            "learns from implicit feedback"
        )
    return {"head": ScoreHead, "additive": Additive}[model.name](model.dim, model.init)


def _of_tasks(config: Config) -> Recommender:
    """Return the model of several tasks that `config.model` names."""
    from fedrec.models.multitask import build_multitask

    model = config.model
    with _seeded(config.run.seed):
        return build_multitask(
            model.dim,
            integers(config, "model.mlp"),
            experts=model.experts if model.name == "mmoe" else 0,
            target=model.target,
            task_weights=task_weights(config),
            local_heads=has_local_heads(config),
            funnel=model.funnel,
            scale=model.init,
        )


def _sequence(config: Config) -> Recommender:
    """Return the sequence model that `config.model` names."""
    from fedrec.models.gru4rec import GRU4Rec
    from fedrec.models.nextitnet import NextItNet
    from fedrec.models.sasrec import SASRec

    model = config.model
    common = (model.dim, model.history, config.train.negatives, model.loss, model.init)
    views: Any = {"contrast": model.contrast, "temperature": model.contrast_temperature}
    if model.name == "sasrec":
        return SASRec(*common, model.layers, model.heads, **views)
    return {"gru4rec": GRU4Rec, "nextitnet": NextItNet}[model.name](*common, model.layers, **views)


def _with_attributes(config: Config) -> Recommender:
    """Return the model of attributes that `config.model` names."""
    from fedrec.models.deepfm import DeepFM
    from fedrec.models.features import feature_options
    from fedrec.models.two_tower import TwoTower

    model, options = config.model, feature_options(config)
    common = (model.dim, integers(config, "model.tower"), model.loss, model.init, options)
    if model.name == "deepfm":
        return DeepFM(*common)
    views: Any = {"contrast": model.contrast, "temperature": model.contrast_temperature}
    views |= {"mask": model.contrast_mask, "seed": config.run.seed}
    scales = tuple(model.scales.replace(",", " ").split())
    return TwoTower(*common, id_rows=model.id_rows, spread=model.spread, scales=scales, **views)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make Keras initialisers reproducible, and leave the caller's `random` as it was.

    An initialiser without a seed takes one from Python's `random` and then draws
    statelessly from it.
    """
    import keras  # noqa: F401  (its import draws from `random`, so it comes first)

    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _in_precision(built: Recommender, config: Config) -> Recommender:
    """Return the model as `train.precision` says.

    Raises:
        ModelError: if it has no products that could be taken in bfloat16.
    """
    if config.train.precision == "float32":
        return built
    from fedrec.models.keras_adapter import KerasRecommender
    from fedrec.models.mixed import in_mixed_precision

    if not isinstance(built, KerasRecommender):
        raise ModelError(
            "train.precision = 'mixed' is for a fedrec.models.keras_adapter.KerasRecommender, not "
            f"for {type(built).__name__}: set train.precision = 'float32'"
        )
    return in_mixed_precision(built)


def _checked(built: Any, config: Config) -> Recommender:
    """Refuse what is no recommender, or does not learn from the feedback of the data."""
    source = config.model.source
    parts = ("row_inputs", "personal_vectors", "pairwise", "loss", "score")
    missing = [name for name in parts if not hasattr(built, name)]
    if missing:
        raise ModelError(
            f"model.source = {source!r} returned {type(built).__name__}, which has no "
            f"{missing[0]!r}; expected a fedrec.models.keras_adapter.KerasRecommender"
        )
    kind = getattr(built, "kind", config.model.loss)
    if (kind == "squared") != (config.model.loss == "squared"):
        raise ModelError(
            f"model.source = {source!r} returned a model with kind = {kind!r} where "
            f"model.loss = {config.model.loss!r}; pass kind=config.model.loss"
        )
    model: Recommender = built
    return model


def from_source(source: str, key: str) -> Callable[..., Any]:
    """Import ``package.module:function`` or ``file.py:function``, the value of `key`.

    Raises:
        ModelError: if there is no such function.
    """
    place, colon, function = source.rpartition(":")
    if not colon or not place or not function:
        raise ModelError(f"{key} = {source!r}: expected 'file.py:function'")
    if place.endswith(".py"):
        path = Path(place).expanduser()
        if not path.is_file():
            raise ModelError(f"{key}: there is no file {path.resolve()}")
        spec = importlib.util.spec_from_file_location(f"fedrec_source_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ModelError(f"{key}: {path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses in the file look their module up
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(place)
        except ImportError as error:
            raise ModelError(f"{key}: cannot import {place!r}: {error}") from None
    if not hasattr(module, function):
        names = [n for n in vars(module) if not n.startswith("_")]
        raise ModelError(f"{key}: no {function!r} in {place}.{nearest(function, names)}")
    result: Callable[..., Any] = getattr(module, function)
    return result
