"""The tests that run containers take minutes, and images of a gigabyte: `./farm test --deploy` runs them."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("FARM_DEPLOY") == "true" else ["test_compose_runs.py", "test_nginx.py"]
