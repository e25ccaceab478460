"""Alignment: merchants find out what they have in common without showing the rest."""
