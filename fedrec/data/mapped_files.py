"""Own files whose items or customers get common names as they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedrec.config_sections import DataSection
from fedrec.data.catalogue_map import key_of, mapped_frame, table_with_common_names
from fedrec.data.customer_map import joined_customers
from fedrec.data.files import attribute_tables, read_table, usual_columns, what_to_read
from fedrec.data.frames import check_columns, from_frames
from fedrec.data.interactions import Dataset
from fedrec.errors import DataError


def mapped_files(section: DataSection) -> Dataset:
    """Read own files as `read_files`, with the names of `catalogue_map` and `customer_map`.

    Every cell of a delimited file is text as it stands, so that ids are those of the maps.

    Args:
        section: the `data` section, with one of them or both.

    Raises:
        DataError: as `read_files`, `with_common_names` and `joined_customers`, if a map cannot
            be read, or attributes of users are given whose own ids are no longer theirs.
    """
    path, columns, header = what_to_read(section)
    frame, _ = read_table(path, header=header, text=True)
    if path.suffix == ".inter":
        columns = usual_columns(columns, frame)
    check_columns(frame, columns, path.name)
    items, users = attribute_tables(section)
    if items is not None and section.item_file:  # numbers stay numbers, and ids are text
        whole, _ = read_table(Path(section.item_file).expanduser(), text=True)
        key = key_of(items, columns.item)
        items.frame[items.frame.columns[key]] = whole.iloc[:, key]
    lines: list[str] = []
    if section.catalogue_map:
        frame, line, mapped = mapped_frame(section, frame, columns)
        lines.append(line)
        if items is not None:
            least = section.catalogue_confidence
            items = table_with_common_names(items, columns.item, mapped, least)
    if section.customer_map:
        if users is not None:
            raise DataError(
                "data.customer_map gives users other names, and the attributes of users have their "
                "own: leave data.user_file out"
            )
        frame, line = joined_customers(section, frame, columns)
        lines.append(line)
    raw = from_frames(frame, columns, items=items, users=users, name=path.name)
    return replace(raw, account=(*lines, *raw.account))
