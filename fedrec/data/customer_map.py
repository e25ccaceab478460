"""Customers of several merchants, joined by pseudonyms that the merchants have agreed on.

A csv or parquet table with the columns

    customer    the merchant's own id, as its files have it
    pseudonym   the common name, 32 hexadecimal digits after `fedrec align`; any text will do
    merchant    only in files that hold several merchants' rows: whose own id it is

as `fedrec align finish` writes it for customers.  With data.customer_map the customers of own
files get their pseudonyms as they are read, so that who shops with several merchants is one
user.  A customer without one stays a stranger to the others: merchant and id make its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrec.config_sections import DataSection
from fedrec.data.catalogue_map import CUSTOMER, place_of, read_map
from fedrec.data.frames import Columns
from fedrec.data.readers import as_words
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def joined_customers(
    section: DataSection, frame: pd.DataFrame, columns: Columns
) -> tuple[pd.DataFrame, str]:
    """Give customers their pseudonyms.

    Args:
        section: with `customer_map`.
        frame: the rows; it is not changed.
        columns: which column is what.

    Returns:
        The rows, and a line for the account: how many customers several merchants share.

    Raises:
        DataError: as `read_map`, if the rows name no merchants, if no row is of a customer of the
            map, or if a customer without a pseudonym is called like one.
    """
    mapped = read_map(Path(section.customer_map).expanduser(), CUSTOMER)
    if not columns.merchant:
        raise DataError(
            "data.customer_map joins customers of several merchants, and the data name none: set "
            "data.merchant_column"
        )
    words, shop = as_words(frame[columns.user]), as_words(frame[columns.merchant])
    place = place_of(mapped, words, shop)
    known = place >= 0
    if not known.any():
        raise DataError(
            f"{Path(section.path).name}: no row has a customer of the customer map (first customer "
            f"{words.iloc[0]!r}, the map begins with {mapped.items[0]!r}). Is it the map of this "
            "file?"
        )
    own = (words + "@" + shop).to_numpy(object)  # a row without a customer stays without
    if set(own[~known]) & set(mapped.pseudonyms):
        raise DataError(
            "a customer without a pseudonym would be called like one with: pseudonyms must not be "
            "of the form customer@merchant"
        )
    name = np.where(known, mapped.pseudonyms[place], own)
    renamed = frame.copy()
    renamed[columns.user] = name
    pairs = frame.assign(**{columns.user: name})[known].groupby(columns.user)[columns.merchant]
    shared = int((pairs.nunique() > 1).sum())
    return renamed, (
        f"customers joined by pseudonyms: {int(pairs.ngroups):,}, of whom {shared:,} shop with "
        f"several merchants; rows of customers without a pseudonym: {int((~known).sum()):,}"
    )
