"""What leave-last-out tells its reader, wherever the data lie."""

from __future__ import annotations


def last_out_notes(few: int, users: int, tied: int) -> list[str]:
    """Return the notes about users.

    Args:
        few: users with fewer than three interactions.
        users: all users with an interaction.
        tied: users whose held-out interactions hinge on a tie in time.
    """
    return [
        f"{few:,} of {users:,} users have fewer than 3 interactions: "
        f"kept in training, not evaluated.",
        f"{tied:,} of {users - few:,} evaluated users have "
        f"equal times at the end of their history: there the order of rows decides what is "
        f"held out.",
    ]


def strangers_note(number: int) -> str:
    """Return the note about held-out interactions with items that nobody trains on."""
    return f"{number:,} held-out interactions are with items that never occur in training: kept."
