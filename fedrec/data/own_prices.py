"""Merchants of the generated marketplace that sell at prices of their own.

The list price of item i has the standard score z_i of its logarithm.  Merchant m asks

    log p_mi = mean + level_m + range_m * deviation * z_i,

log-normal `range_m` (1: as wide as the list; a discounter's is narrow) and normal `level_m`,
both with the standard deviation `spread`.  Customers compare a price with what is usual where
they shop: they react to (log p_mi - mean - level_m) / deviation = range_m * z_i.  The level
cancels, and the price counts times the range of the shop.  So a model that reads the list price
is right where each merchant multiplies it by a scale of its own, `model.scales`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec import rng
from fedrec.data.attributes import to_number
from fedrec.data.interactions import Catalogue

Floats = NDArray[np.floating]
_AT = 5_000_000  # counter of these draws under a merchant's key


@dataclass(frozen=True, eq=False)
class OwnPrices:
    """How merchants' prices differ from the list.

    Attributes:
        level: float64 [M], what is added to the logarithm of every price.
        range: float64 [M], what its distance from the usual is multiplied by.
    """

    level: NDArray[np.float64]
    range: NDArray[np.float64]


def own_prices(keys: NDArray[np.uint64], spread: float) -> OwnPrices:
    """Draw the prices of merchants.

    Args:
        keys: uint64 [M], of the merchants' draws.
        spread: standard deviation of the level and of the logarithm of the range.
    """
    draws = rng.normal(rng.draw(keys, _AT), 2).astype(np.float64) * spread
    return OwnPrices(draws[:, 0], np.exp(draws[:, 1]))


def reaction(priced: Floats, prices: OwnPrices, merchant: NDArray[np.int64]) -> Floats:
    """Return what a merchant's own prices add to utilities.

    Args:
        priced: what the list price contributes to the utility, any shape.
        prices: of the merchants.
        merchant: int64, of the same shape, who sells.
    """
    return priced * (prices.range[merchant] - 1.0)


def with_log_price(items: Catalogue) -> Catalogue:
    """Return the catalogue with "log_price", the number that customers react to."""
    log = np.log(items.attributes["price"].values)
    return replace(items, attributes={**items.attributes, "log_price": to_number(log)})


def with_prices(merchants: Catalogue, prices: OwnPrices) -> Catalogue:
    """Return the merchants with the numbers "price_level" and "price_range"."""
    own = {"price_level": to_number(prices.level), "price_range": to_number(prices.range)}
    return replace(merchants, attributes={**merchants.attributes, **own})
