"""The items that a loaded model knows: identifiers, titles, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.models.export_items import title_of


@dataclass(frozen=True, eq=False)
class Items:
    """The I items of a model.

    Attributes:
        ids: object [I], identifiers.
        attributes: what people read of each; empty if the model has none.
        counts: float or int [I], popularity to start from; None: unknown.
        data: name of the data set.
    """

    ids: NDArray[np.object_]
    attributes: list[dict[str, Any]]
    counts: NDArray | None
    data: str

    @cached_property
    def place(self) -> dict[str, int]:
        """Identifier -> number."""
        return {str(name): at for at, name in enumerate(self.ids)}

    def title(self, at: int) -> str:
        """Return what a person calls an item; empty without attributes."""
        known: Mapping[str, Any] = self.attributes[at] if self.attributes else {}
        return title_of(known)
