"""Engines: in-process, Flower's Ray simulation, and a SuperLink."""
