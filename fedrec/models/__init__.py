"""Recommender models, each written for one client."""
