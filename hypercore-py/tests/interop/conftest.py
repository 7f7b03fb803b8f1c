"""Helpers of the tests next door are found as well."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "dht"))
