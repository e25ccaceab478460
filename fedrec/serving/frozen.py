"""A model on a device, its shared part frozen: the items' side is computed once, when it is loaded.

See `fedrec.models.frozen`.  What follows from the user's own attributes is the same for all that
the device scores, so it stands among the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.models.frozen import Form, FrozenItems, form_of
from fedrec.models.recommender import Tensor
from fedrec.params import Shared

Profile = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frozen:
    """A model with a still shared part.

    Attributes:
        model: over the tables.
        form: of the model that was trained.
        tensors: the tables, made once for all sessions.
        trained: the weights as they were trained.
    """

    model: FrozenItems
    form: Form
    tensors: dict[str, Tensor]
    trained: dict[str, Tensor]

    def shared(self, profile: Profile | None) -> Shared:
        """Return the parameters for a user of these attributes; None: none are known."""
        weights = dict(self.form.weights(self.trained))
        if self.form.width:
            row = np.zeros(self.form.width, np.float32) if profile is None else profile
            own = self.form.of_profile(row[None], self.trained)
            weights |= {name: value[0] for name, value in own.items()}
        return Shared({}, weights, self.tensors)


def freeze(model: Any, shared: Shared) -> Frozen | None:
    """Return a model with its item side computed; None for models that have no such form.

    Args:
        model: as trained, bound to its items.
        shared: its parameters; its constants are among the fixed.
    """
    import tensorflow as tf

    form = form_of(model)
    if form is None:
        return None
    weights = {name: tf.constant(value) for name, value in shared.weights.items()}
    rows = {n: tf.constant(v) for n, v in {**shared.tables, **shared.fixed}.items()}
    tables = dict(form.of_items(rows, weights))
    return Frozen(replace(form.model, of_profile=()), form, tables, weights)
