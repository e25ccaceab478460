"""Bootstrapping: what is recommended to new users, of new items and by new merchants."""
