"""Federated recommender systems: leak-free evaluation, one design for every engine.

The public names are imported when they are first used, so that ``import fedrec``
and the command line start without TensorFlow or pandas.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedrec.compare import compare as compare
    from fedrec.compare_merchants import compare_merchants as compare_merchants
    from fedrec.config import Config as Config
    from fedrec.config import load_config as load_config
    from fedrec.data.load import dataset_from_frame as dataset_from_frame
    from fedrec.data.load import load_dataset as load_dataset
    from fedrec.results import Result as Result
    from fedrec.results import load_result as load_result
    from fedrec.run import run as run
    from fedrec.serving.load import load_recommender as load_recommender

__version__ = "0.1.0"

_LAZY = {
    "compare": "fedrec.compare",
    "compare_merchants": "fedrec.compare_merchants",
    "run": "fedrec.run",
    "Config": "fedrec.config",
    "load_config": "fedrec.config",
    "dataset_from_frame": "fedrec.data.load",
    "load_dataset": "fedrec.data.load",
    "Result": "fedrec.results",
    "load_recommender": "fedrec.serving.load",
    "load_result": "fedrec.results",
}
__all__ = [
    "Config",
    "Result",
    "__version__",
    "compare",
    "compare_merchants",
    "dataset_from_frame",
    "load_config",
    "load_dataset",
    "load_recommender",
    "load_result",
    "run",
]


class _Package(ModuleType):
    """The package itself: the function ``fedrec.run`` wins over the sub-module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _LAZY and isinstance(value, ModuleType):
            return  # the import system binds a loaded sub-module to its name in the package
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fedrec' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
