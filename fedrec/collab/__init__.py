"""Collaboration of unlike parties: one has what the other lacks about the same people."""
