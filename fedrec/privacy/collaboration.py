"""What a collaboration setting shows the parties of each other, beyond what protects updates."""

from __future__ import annotations

from typing import Any

from fedrec.config import Config
from fedrec.config_collab import MERCHANT, PSEUDONYMS

SAME_ITEMS = (
    "Setting: same items, different users. A client is a merchant with its own customers: who "
    "shops with several is a stranger at each, and no customer's rows leave a merchant. Merchants "
    "share the item list, and each learns from the shared parameters what the customers of all of "
    "them like together; with two merchants that is what the other's customers like"
)
SAME_USERS = (
    "Setting: same users, different items (domains by {by}). What a user does in all domains meets "
    "on the user's own device and nowhere else. Whoever sees an update sees the items of all "
    "domains in it, so what hides updates matters more than with one domain; a domain learns from "
    "the shared parameters how its items go with those of the others"
)
OVERLAPPING = (
    "Setting: users and items overlap (domains are merchants). What a user does at all merchants "
    "meets on the user's own device and nowhere else. Whoever sees an update sees what was bought "
    "at all merchants together, though not where; merchants share the item list, and each learns "
    "from the shared parameters what the others' customers like"
)
JOINED = (
    "Setting: users and items overlap (domains are merchants), joined by pseudonyms. No device of "
    "the user takes part: the merchants have matched their customers, so each learns which of its "
    "customers shop with which others. In each round every merchant of a common customer adds the "
    "sums for the customer's vector that follow from its own rows ({sums} numbers) to those of the "
    "others, and all of them get the customer's vector of {dim} numbers, which is learnt from what "
    "the customer bought at the others: who knows the item table can tell from these sums what "
    "that was, where it is little all but exactly. Nothing of it is masked, and pseudonyms are no "
    "protection, as each merchant knows its own customers. Merchants share the item "
    "list, and the server sees their updates. The rows of all merchants lie in one process here: "
    "the sums are those that the merchants would exchange, their messages travel no network yet"
)


VERTICAL_SETTING = "same users, different columns"
VERTICAL = (
    "not private between the two parties. Setting: same users, different columns. Private matching "
    "tells both who is a customer of both, and the sizes of their lists. The purchase party, which "
    "holds all interactions, learns of each common customer {dim} numbers that are linear in the "
    "attributes: who has the same numbers has the same attributes, and with some customers whose "
    "attributes it knows it can learn to read those of the others. The attribute party learns "
    "{learns}. For parties that follow the protocol"
)
PRODUCTS = (
    "the products of its attributes with the customers' vectors, sums over all of them, in each "
    "exchange (by masked matrices, from a dealer that sides with neither), and so what customers "
    "with an attribute like on average"
)
VECTORS = (
    "the vector of each common customer in each exchange, from which what it likes can be told"
)
BLURRED = (
    "; each vector is bounded ({clip:g}) and blurred (noise of {noise:g} times that) before it is "
    "used, which is no differential privacy"
)


def vertical_statement(config: Config) -> str:
    """Return what a run with attributes of another party may claim."""
    section = config.vertical
    learns = PRODUCTS if section.exchange == "secure" else VECTORS
    if section.noise:
        learns += BLURRED.format(clip=section.clip, noise=section.noise)
    return VERTICAL.format(dim=config.model.dim, learns=learns)


def with_setting(privacy: dict[str, Any], config: Config) -> dict[str, Any]:
    """Complete the privacy entry of a result by what the collaboration setting shows.

    Args:
        privacy: the entry, with "statement".
        config: of the run.

    Returns:
        The entry with "setting" and a longer statement; as it is for users without domains,
        and for a domain that trains alone.
    """
    named = _setting(config)
    if named is None:
        return privacy
    name, text = named
    own = str(privacy["statement"]).rstrip(". ")
    if config.domain.meet == PSEUDONYMS:  # there is no device that rows would stay on
        own = "not private between the merchants"
    return {**privacy, "statement": f"{own}. {text}", "setting": name}


def _setting(config: Config) -> tuple[str, str] | None:
    if config.clients.unit == "merchant":
        return "same items, different users", SAME_ITEMS
    if not config.domain.by or config.domain.train == "target":
        return None
    if config.domain.meet == PSEUDONYMS:
        dim = config.model.dim
        sums = dim * (dim + 1) // 2 + dim
        return "users and items overlap, joined by pseudonyms", JOINED.format(sums=sums, dim=dim)
    if config.domain.by == MERCHANT:
        return "users and items overlap", OVERLAPPING
    return "same users, different items", SAME_USERS.format(by=config.domain.by)
