"""Local training, methods, the centralised twin and the baselines."""
