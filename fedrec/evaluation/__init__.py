"""Ranking and rating metrics, intervals, significance and the leak guard."""
