"""Where things are in this repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "hypercore-py" / "tests" / "vectors"
PEERS = ROOT / "tests" / "peers"
"""The official JavaScript peers."""
