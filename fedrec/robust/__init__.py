"""Malicious clients and defences against them, the same in runs and in audits."""
