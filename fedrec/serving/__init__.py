"""A trained model on one device: history in, items and reasons out, and nothing leaves."""
