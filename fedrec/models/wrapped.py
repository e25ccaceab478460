"""A model around another one: what it does not change is as the inner model has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import Recommender, RowInput, bound, constants, personal_fixed


@dataclass(frozen=True)
class Wrapped:
    """Base of models that change a part of `model`.

    Attributes:
        model: the inner model, written for one client.
    """

    model: Recommender

    def __getattr__(self, name: str) -> Any:
        """Anything else (the length of a history, say) is as the model has it."""
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def constants(self) -> Mapping[str, NDArray[np.float32]]:
        """As the model."""
        return constants(self.model)

    @property
    def personal_fixed(self) -> tuple[str, ...]:
        """As the model."""
        return personal_fixed(self.model)

    @property
    def pairwise(self) -> bool:
        """As the model."""
        return self.model.pairwise

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """As the model."""
        return self.model.personal_vectors

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """As the model."""
        return self.model.row_inputs

    def bound(self, items: Catalogue, users: Catalogue) -> Self:
        """See `Recommender`."""
        return replace(self, model=bound(self.model, items, users))
