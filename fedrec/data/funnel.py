"""Events as a funnel: what was bought was in the cart, and what was in the cart was viewed.

Cleaning keeps of each user and item one row with the strongest event of the pair, so
that the row tells of all its events.  A pair is held out as a whole: if its purchase is
to be predicted, its view is no training interaction either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import EVENTS, Interactions
from fedrec.errors import DataError

ANY = "any"


def levels(rows: Interactions) -> NDArray[np.int8] | None:
    """Return how far each interaction got, int8 [N]; None for data without events.

    1 is a view, 2 a cart, 3 a purchase; -1 where the event is missing, so that nothing is
    known but that there was an interaction.
    """
    if rows.event is None:
        return None
    return np.where(rows.event < 0, -1, rows.event + 1).astype(np.int8)


def reached(rows: Interactions, event: str, name: str) -> NDArray[np.bool_]:
    """Return which interactions got as far as an event, bool [N].

    Args:
        rows: N interactions.
        event: of `EVENTS`; "any" takes all.  Whatever happened was at least a view.
        name: of the data set, for the message.

    Raises:
        DataError: if the data have no events.
    """
    if event == ANY:
        return np.ones(len(rows), bool)
    if rows.event is None:
        raise without_events(name, f"interactions that got as far as a {event}")
    return (rows.event >= EVENTS.index(event)) | (event == EVENTS[0])


def without_events(name: str, what: str) -> DataError:
    """Return the error of data without events; `what` needs them."""
    return DataError(
        f"data set {name!r} has no events ({', '.join(EVENTS)}), and {what} are asked for. Name "
        f"the column of your file with data.event_column, use data.name = 'marketplace', or set "
        f"split.event and split.train_event to 'any' and model.name to a model of one task, such "
        f"as 'mf'"
    )
