"""Deployment: certificates, keys, scripts and folders of a federation on real machines."""
