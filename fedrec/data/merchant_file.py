"""What a merchant's node reads, as its operator says: the server decides nothing of it.

    merchant = "north"
    superlink = "federation.example:9092"
    items = "items.jsonl"

    [data]
    path = "purchases.csv"
    user_column = "customer"
    item_column = "ean"
    time_column = "sold_at"

Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedrec.config import Config, Scalar
from fedrec.config_silo import merchants_of
from fedrec.errors import ConfigError, ProtocolError, nearest

NAME = "node.toml"
_KEYS = ("merchant", "superlink", "items", "data")
_ROLES = ("user", "item", "rating", "time", "merchant", "event")
_DATA = ("path", "catalogue_map", *(f"{role}_column" for role in _ROLES))
_DEFAULTS = {"user_column": "user", "item_column": "item"}


@dataclass(frozen=True)
class MerchantFile:
    """A merchant's node.toml.

    Attributes:
        folder: where it lies.
        merchant: name of the merchant.
        superlink: host:port of the server.
        items: the shared item list.
        data: key of the section `data` -> value; all columns, and "path".
    """

    folder: Path
    merchant: str
    superlink: str
    items: Path
    data: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The merchant's own file of interactions."""
        return Path(self.data["path"])


def read_merchant_file(path: Path) -> MerchantFile:
    """Read a node.toml.

    Raises:
        ConfigError: if it is missing, malformed, or lacks a key.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    data = given.get("data", {})
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a table [data]")
    for found, known in ((given, _KEYS), (data, _DATA)):
        for key, value in found.items():
            if key not in known:
                raise ConfigError(f"{path}: unknown key {key!r}.{nearest(key, known)}")
            if key != "data" and not isinstance(value, str):
                raise ConfigError(f"{path}: {key} = {value!r}: expected text in quotes")
    for key, table in (("merchant", given), ("path", data)):
        if not table.get(key):
            raise ConfigError(f"{path}: {key} is missing")
    folder = path.absolute().parent
    columns = {key: data.get(key, _DEFAULTS.get(key, "")) for key in _DATA}
    for key in ("path", "catalogue_map"):
        columns[key] = str(folder / Path(columns[key]).expanduser()) if columns[key] else ""
    items = folder / Path(given.get("items", "items.jsonl")).expanduser()
    return MerchantFile(folder, given["merchant"], given.get("superlink", ""), items, columns)


def local_config(config: Config, file: MerchantFile) -> Config:
    """Return a run's configuration as the merchant's node reads it: with its own file alone.

    Whatever paths the server has sent are replaced.

    Args:
        config: as the server sent it.
        file: of this node.

    Raises:
        ProtocolError: if the run is not one over merchants, or without this one.
        ConfigError: if the run and the file do not go together.
    """
    if file.merchant not in merchants_of(config):
        raise ProtocolError(
            f"this node serves the merchant {file.merchant!r} and takes part only in runs whose "
            f"silo.merchants names it, not {config.silo.merchants!r}"
        )
    values: dict[str, Scalar] = {f"data.{key}": value for key, value in file.data.items()}
    values |= {"silo.holds": file.merchant, "silo.items": str(file.items)}
    empty = ("data.cache", "data.item_vectors", "data.item_graph", "model.pretrained")
    return config.with_({**values, **dict.fromkeys(empty, "")})
