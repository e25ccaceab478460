"""Differential privacy of clients: bounded updates, noise, and what they cost."""
