"""Data: sources, cleaning, splits, partitions and batches."""
