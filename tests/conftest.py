"""Settings of every test: quiet children, no telemetry, no flaky deadlines."""

import os

from hypothesis import settings

os.environ.update(
    {
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)
settings.register_profile("fedrec", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fedrec")
