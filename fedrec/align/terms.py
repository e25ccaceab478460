"""What an agreement allows: who takes part, and how long lists may be."""

from __future__ import annotations

from fedrec.align.agreement import Agreement
from fedrec.align.ids import Ids
from fedrec.errors import AlignmentError, ConfigError
from fedrec.secure.agreement import Identity


def check_own(agreement: Agreement, party: str, ids: Ids, identity: Identity | None) -> None:
    """Refuse to begin with terms that this party cannot meet.

    Raises:
        ConfigError: if the party or its key is not that of the agreement.
        AlignmentError: if the list is too short.
    """
    agreement.number(party)
    if agreement.keys and (identity is None or identity.public.hex() != agreement.keys[party]):
        raise ConfigError(
            f"the agreement names a key of {party}, and {'none' if identity is None else 'another'}"
            " was given. Name its file with --key"
        )
    if len(ids) < agreement.minimum:
        raise AlignmentError(
            f"this list has {len(ids):,} identifiers and the agreement asks for at least "
            f"{agreement.minimum:,}: answers about short lists tell too much about single entries"
        )


def check_sizes(agreement: Agreement, own: int, other: int, length: int) -> None:
    """Refuse a list that is too short, or too unlike the own one.

    Args:
        agreement: the terms.
        own: length of the own list.
        other: number of the party whose list it is.
        length: of its list.

    Raises:
        AlignmentError: with the lengths.
    """
    name = agreement.parties[other]
    if length < agreement.minimum:
        raise AlignmentError(
            f"{name} sent {length:,} identifiers and the agreement asks for at least "
            f"{agreement.minimum:,}: a short list could probe for single entries. Nothing was "
            "answered"
        )
    shorter, longer = sorted((own, length))
    if longer > agreement.ratio * shorter:
        raise AlignmentError(
            f"{name} has {length:,} identifiers and this party {own:,}: one list is more than "
            f"{agreement.ratio:g} times longer than the other, and such a list could hold guesses "
            "of everything. Nothing was answered; agree on another ratio if both lists are right"
        )
