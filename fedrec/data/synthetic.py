"""A synthetic marketplace whose true preferences are known.

Merchants of unequal size sell overlapping parts of one catalogue to overlapping
customers.  What a customer would like best is known (`Truth`), so an oracle
ranking exists, and what a customer does is a sample of it:

* the utility of item i for user u is ``user_vectors[u] @ item_vectors[i] + item_bias[i]``;
  biases follow Zipf's law in the popularity rank; the first factor is the price;
* a user looks at distinct items among those his merchants sell, drawn in
  proportion to exp(utility) (Plackett-Luce, by the Gumbel-max trick);
* a view may become a cart and then a purchase, the likelier the better the taste fits;
* where merchants have price ranges of their own (`fedrec.data.own_prices`), the price counts
  times the range of the shop at which the user would buy the item.

Every draw is addressed by (seed, entity), so a user's behaviour does not depend
on how users are grouped for computing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec import rng
from fedrec.data.attributes import to_category, to_number, to_text
from fedrec.data.interactions import Catalogue, Dataset, Interactions, Truth
from fedrec.data.own_prices import OwnPrices, own_prices, reaction, with_log_price, with_prices

_TREE = {
    "grocery": ("pantry", "dairy", "snacks", "drinks"),
    "fashion": ("dresses", "shoes", "coats", "bags"),
    "electronics": ("phones", "audio", "computers", "cameras"),
    "home": ("kitchen", "lighting", "bedding", "storage"),
    "garden": ("plants", "tools", "furniture", "grills"),
    "toys": ("games", "dolls", "puzzles", "models"),
    "sports": ("cycling", "running", "camping", "football"),
    "beauty": ("skin", "hair", "perfume", "make-up"),
}
_CATEGORIES = [f"{d}/{c}" for d, names in _TREE.items() for c in names]
_DEPARTMENT = np.repeat(np.arange(len(_TREE)), 4)  # department of each category
_REGIONS = ("north", "east", "south", "west")
_GENDERS = ("female", "male")
_FACTORS, _BRANDS, _SHOPS = 8, 40, 4
_ZIPF, _TASTE = 0.8, 0.75
_ROWS_PER_VIEW = 2.0  # a view, and the carts and purchases that follow on average
_START, _YEAR, _DAY = 1_704_067_200.0, 365, 86_400.0  # 2024-01-01 UTC
_BLOCK_CELLS = 1 << 22
# second part of an address: which kind of entity draws
_USER, _ITEM, _MERCHANT, _CATEGORY, _BRAND, _SEGMENT, _CHOICE, _FUNNEL = range(8)


def _keys(seed: int, kind: int, number: int) -> NDArray[np.uint64]:
    return rng.keys(seed, kind, np.arange(number), rng.Purpose.SYNTHETIC)


def _uniform(key: NDArray[np.uint64], counter: int) -> NDArray[np.float64]:
    return rng.uniform(rng.draw(key, 1_000_000 + counter))  # past the normals of this key


def _gumbel(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    return -np.log(-np.log(np.clip(rng.uniform(words), 1e-16, 1 - 1e-16)))


@dataclass(frozen=True, eq=False)
class _Items:
    vectors: NDArray[np.float32]
    bias: NDArray[np.float32]
    category: NDArray[np.int64]
    catalogue: Catalogue


@dataclass(frozen=True, eq=False)
class _Users:
    vectors: NDArray[np.float32]
    region: NDArray[np.int64]
    profile: Catalogue


@dataclass(frozen=True, eq=False)
class _Market:
    carries: NDArray[np.bool_]  # [M, I]
    shops: NDArray[np.int64]  # [U, S], best first, -1 where a user has fewer
    catalogue: Catalogue
    prices: OwnPrices | None = None  # None: everybody sells at the list price


def make_marketplace(
    users: int = 2000,
    items: int = 1000,
    merchants: int = 5,
    events_per_user: float = 40.0,
    seed: int = 0,
    assortment: float = 0.0,
    price_spread: float = 0.0,
) -> Dataset:
    """Generate a marketplace.

    Args:
        users: number of users.
        items: number of items.
        merchants: number of merchants.
        events_per_user: mean number of rows (views, carts, purchases) of a user;
            fewer come out where that is more than half of what his merchants sell.
        seed: of every draw.
        assortment: chance at least that a merchant sells an item; 0: by its size, from 0.25
            to 0.65 with ten merchants, and 0.85 within its speciality.
        price_spread: standard deviation of merchants' log price levels and log price ranges
            (see `fedrec.data.own_prices`); 0: all sell at the list price.

    Returns:
        an uncleaned data set (several rows for a user and item), rows by time,
        with merchants, events, attributes and `truth` (at list prices).
    """
    goods = _make_items(items, seed)
    people = _make_users(users, seed)
    market = _make_market(goods, people, merchants, seed, assortment)
    if price_spread > 0:
        market = _with_own_prices(market, price_spread, seed)
        goods = replace(goods, catalogue=with_log_price(goods.catalogue))
    user, item = _choose(goods, people, market, events_per_user, seed)
    merchant = _where(user, item, market, seed)
    taste = np.einsum("nf,nf->n", people.vectors[user], goods.vectors[item])
    if market.prices is not None:
        priced = people.vectors[user, 0] * goods.vectors[item, 0]
        taste = taste + reaction(priced, market.prices, merchant)
    rows = _funnel(user, item, merchant, taste, seed)
    truth = Truth(people.vectors, goods.vectors, goods.bias)
    account = (f"generated: {len(user):,} user-item pairs (seed {seed})",)
    return Dataset(
        "marketplace", rows, goods.catalogue, people.profile, market.catalogue, account, truth
    )


def _names(word: str, number: int) -> NDArray[np.object_]:
    width = len(str(number))
    return np.array([f"{word}-{n:0{width}d}" for n in range(1, number + 1)], dtype=object)


def _make_items(number: int, seed: int) -> _Items:
    key = _keys(seed, _ITEM, number)
    category = rng.integers(rng.draw(key, 2_000_000), len(_CATEGORIES))
    brand = (_BRANDS * _uniform(key, 1) ** 2).astype(np.int64)  # some brands are big
    centre = rng.normal(_keys(seed, _CATEGORY, len(_CATEGORIES)), _FACTORS + 1)
    character = rng.normal(_keys(seed, _BRAND, _BRANDS), _FACTORS)
    noise = rng.normal(key, _FACTORS + 1)
    vectors = 0.75 * centre[category, :-1] + 0.4 * character[brand] + 0.5 * noise[:, :-1]
    log_price = 3.0 + 0.8 * centre[category, -1] + 0.4 * noise[:, -1]
    vectors[:, 0] = (log_price - log_price.mean()) / max(float(log_price.std()), 1e-6)
    rank = np.argsort(np.argsort(_uniform(key, 2)))
    bias = -_ZIPF * np.log1p(rank.astype(np.float64))
    labels = [_CATEGORIES[c] for c in category]
    attributes = {
        "department": to_category([label.split("/")[0] for label in labels]),
        "category": to_category(labels),
        "brand": to_category([f"brand-{b + 1:02d}" for b in brand]),
        "price": to_number(np.round(np.exp(log_price), 2)),
        "title": to_text([f"{lb.split('/')[1]} no. {n + 1}" for n, lb in enumerate(labels)]),
    }
    catalogue = Catalogue(_names("item", number), attributes)
    return _Items((_TASTE * vectors).astype(np.float32), bias.astype(np.float32), category,
                  catalogue)  # fmt: skip


def _make_users(number: int, seed: int) -> _Users:
    key = _keys(seed, _USER, number)
    age = 18 + 62 * _uniform(key, 1) ** 1.3
    gender = rng.integers(rng.draw(key, 2_000_000), 2)
    region = rng.integers(rng.draw(key, 2_000_001), len(_REGIONS))
    segment = (age // 20).astype(np.int64) * 2 + gender
    centre = rng.normal(_keys(seed, _SEGMENT, 10), _FACTORS)
    vectors = 0.5 * centre[segment] + 0.85 * rng.normal(key, _FACTORS)
    profile = Catalogue(
        _names("user", number),
        {
            "age": to_number(np.floor(age)),
            "gender": to_category([_GENDERS[g] for g in gender]),
            "region": to_category([_REGIONS[r] for r in region]),
        },
    )
    return _Users((_TASTE * vectors).astype(np.float32), region, profile)


def _make_market(
    goods: _Items, people: _Users, number: int, seed: int, assortment: float
) -> _Market:
    """Decide who sells what, and who shops where."""
    key = _keys(seed, _MERCHANT, number)
    speciality = np.arange(number) % len(_TREE)
    region = rng.integers(rng.draw(key, 2_000_000), len(_REGIONS))
    size = 1.0 / np.arange(1, number + 1) ** 0.7
    share = 0.15 + 0.5 * size
    chance = np.where(_DEPARTMENT[goods.category] == speciality[:, None], 0.85, share[:, None])
    chance = np.maximum(chance, assortment)
    items = len(goods.catalogue)
    carries = rng.uniform(rng.draw(key[:, None], 3_000_000 + np.arange(items))) < chance
    carries[0] |= ~carries.any(axis=0)  # the biggest merchant sells what nobody else does
    shops = _shops(people, np.log(size), region, seed)
    catalogue = Catalogue(
        _names("shop", number),
        {
            "speciality": to_category([list(_TREE)[s] for s in speciality]),
            "region": to_category([_REGIONS[r] for r in region]),
        },
    )
    return _Market(carries, shops, catalogue)


def _with_own_prices(market: _Market, spread: float, seed: int) -> _Market:
    prices = own_prices(_keys(seed, _MERCHANT, len(market.catalogue)), spread)
    return replace(market, prices=prices, catalogue=with_prices(market.catalogue, prices))


def _shops(
    people: _Users, attraction: NDArray[np.float64], region: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    key = _keys(seed, _USER, len(people.profile))
    merchants = len(attraction)
    pull = attraction + 1.0 * (people.region[:, None] == region)
    pull = pull + _gumbel(rng.draw(key[:, None], 3_000_000 + np.arange(merchants)))
    shops = np.argsort(-pull, axis=1)[:, :_SHOPS]
    visits = 1 + np.searchsorted([0.4, 0.7, 0.9], _uniform(key, 5))  # one shop to four
    return np.where(np.arange(shops.shape[1]) < visits[:, None], shops, -1)


def _choose(
    goods: _Items, people: _Users, market: _Market, events_per_user: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the distinct items that each user looks at, by blocks of users."""
    users, items = len(people.vectors), len(goods.bias)
    key = _keys(seed, _CHOICE, users)
    spread = 0.8  # of log-normal activity: a few users do much
    activity = np.exp(spread * rng.normal(key, 1)[:, 0] - spread**2 / 2)
    wanted = np.maximum(np.round(events_per_user / _ROWS_PER_VIEW * activity), 1)
    sold = np.vstack([market.carries, np.zeros(items, dtype=bool)])  # row -1: no shop
    pairs = []
    step = max(1, _BLOCK_CELLS // (items if market.prices is None else items * _SHOPS))
    for first in range(0, users, step):
        block = slice(first, min(first + step, users))
        reach = sold[market.shops[block]].any(axis=1)
        score = people.vectors[block] @ goods.vectors.T + goods.bias
        if market.prices is not None:
            user, item = np.mgrid[block, :items].reshape(2, -1)
            at = _where(user, item, market, seed)
            priced = people.vectors[block, :1] * goods.vectors[:, 0]
            score = score + reaction(priced, market.prices, at.reshape(score.shape))
        score = score + _gumbel(rng.draw(key[block, None], 1_000 + np.arange(items)))
        score[~reach] = -np.inf
        best = np.argsort(-score, axis=1)
        count = np.minimum(wanted[block], np.ceil(reach.sum(axis=1) / 2))
        user, place = np.nonzero(np.arange(items) < count[:, None])
        pairs.append((user + first, best[user, place]))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _pair_keys(user: NDArray[np.int64], item: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    return rng.keys(seed, _FUNNEL, user * (1 << 31) + item, rng.Purpose.SYNTHETIC)


def _where(
    user: NDArray[np.int64], item: NDArray[np.int64], market: _Market, seed: int
) -> NDArray[np.int64]:
    """Choose for each pair one of the user's shops that sell the item, favourites first."""
    shops = market.shops[user]
    liking = -np.log(2.0) * np.arange(shops.shape[1])
    key = _pair_keys(user, item, seed)
    score = liking + _gumbel(rng.draw(key[:, None], np.arange(shops.shape[1])))
    score[(shops < 0) | ~market.carries[shops, item[:, None]]] = -np.inf
    return shops[np.arange(len(user)), np.argmax(score, axis=1)]


def _funnel(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    merchant: NDArray[np.int64],
    taste: NDArray[np.float32],
    seed: int,
) -> Interactions:
    """Give each pair a time, and let views become carts and purchases."""
    key = _pair_keys(user, item, seed)
    joined = 0.6 * _uniform(_keys(seed, _USER, int(user.max()) + 1), 6)[user]
    day = np.floor(_YEAR * (joined + (1 - joined) * _uniform(key, 0)))
    hour = 8 + 7 * (_uniform(key, 1) + _uniform(key, 2))  # mostly in the afternoon
    view = _START + day * _DAY + hour * 3600
    cart = _uniform(key, 3) < 1 / (1 + np.exp(0.9 - 0.8 * taste))
    bought = cart & (_uniform(key, 4) < 1 / (1 + np.exp(0.3 - 0.6 * taste)))
    basket = view + 60 + 1800 * _uniform(key, 5)
    order = basket + 60 + 3 * _DAY * _uniform(key, 6) ** 3
    masks = (np.ones(len(user), dtype=bool), cart, bought)
    pair = np.concatenate([np.flatnonzero(mask) for mask in masks])
    event = np.repeat(np.arange(3), [int(mask.sum()) for mask in masks])
    time = np.floor(np.concatenate([t[m] for t, m in zip((view, basket, order), masks,
                                                         strict=True)]))  # fmt: skip
    rows = np.lexsort((event, item[pair], user[pair], time))
    pair = pair[rows]
    return Interactions(
        user=user[pair].astype(np.int32),
        item=item[pair].astype(np.int32),
        timestamp=time[rows],
        merchant=merchant[pair].astype(np.int32),
        event=event[rows].astype(np.int8),
    )
