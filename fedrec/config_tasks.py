"""What a configuration of several tasks, and of splits by event, must satisfy.

The tasks are the events of a shop: a view, a cart, a purchase (`fedrec.data.funnel`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

TASKS = ("view", "cart", "purchase")
"""What is predicted, in the order of the funnel."""

TASK_MODELS = ("shared-bottom", "mmoe")
"""Models with a head for each task; `model.name`."""

_OWN = ("target", "task_weights", "local_heads", "funnel")


def check_tasks(config: Config) -> None:
    """Refuse what models of several tasks do not learn from, and their keys for other models.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    model, name = config.model, f"model.name = {config.model.name!r}"
    if model.name not in TASK_MODELS:
        defaults = type(model)()
        for key in _OWN:
            if getattr(model, key) != getattr(defaults, key):
                raise ConfigError(
                    f"model.{key} = {getattr(model, key)!r} is for models of several tasks "
                    f"({', '.join(TASK_MODELS)}), not for {name}: remove it, or change model.name"
                )
        return
    if config.data.feedback == "explicit":
        raise ConfigError(f"{name} predicts events: set data.feedback = 'implicit'")
    if model.loss != "logistic":
        raise ConfigError(f"{name} needs model.loss = 'logistic', not {model.loss!r}: a task is "
                          "whether its event happens")  # fmt: skip
    weights, event = task_weights(config), config.split.train_event
    others = [task for task, weight in zip(TASKS, weights, strict=True) if weight and task != event]
    if event != "any" and others:
        raise ConfigError(
            f"split.train_event = {event!r} keeps a part of the events from {name}, which learns "
            f"{', '.join(others)} too: set split.train_event = 'any', and model.task_weights to "
            f"say what counts, or give weight to {event} alone"
        )
    if config.model.funnel:
        _check_funnel(config, weights)


def _check_funnel(config: Config, weights: tuple[float, ...]) -> None:
    """Refuse a funnel in which a head on the way to the target is never trained."""
    way = TASKS[: TASKS.index(config.model.target) + 1]
    for task, weight in zip(way, weights, strict=False):
        if not weight:
            raise ConfigError(
                f"model.funnel = true ranks by the heads of {', '.join(way)}, and "
                f"model.task_weights = {config.model.task_weights!r} never trains that of {task}: "
                "give it a weight above 0, or set model.funnel = false"
            )


def task_weights(config: Config) -> tuple[float, ...]:
    """Return the weight of each task's loss, in the order of `TASKS`.

    Raises:
        ConfigError: if they are not three numbers of at least 0, that of the target above 0.
    """
    text, target = config.model.task_weights, config.model.target
    try:
        weights = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        weights = ()
    if len(weights) != len(TASKS) or not all(0 <= weight < math.inf for weight in weights):
        raise ConfigError(
            f"model.task_weights = {text!r}: expected {len(TASKS)} numbers of at least 0, the "
            f"weights of {', '.join(TASKS)}"
        )
    if not weights[TASKS.index(target)]:
        raise ConfigError(
            f"model.task_weights = {text!r} never trains the head of model.target = {target!r}: "
            "give it a weight above 0"
        )
    return weights


def held_out_event(config: Config) -> str:
    """Return which event held-out interactions have reached: a task, or "any"."""
    if config.split.event != "auto":
        return config.split.event
    return config.model.target if config.model.name in TASK_MODELS else "any"


def has_local_heads(config: Config) -> bool:
    """Return whether the heads of the tasks stay with the clients."""
    if config.model.local_heads == "auto":
        return config.clients.unit == "merchant"
    return config.model.local_heads == "true"
