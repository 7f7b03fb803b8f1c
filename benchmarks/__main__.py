"""`./farm bench NAME [ARGS]`: runs one benchmark, or without a name lists them."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "blindpeer": "a thousand apps at one blind peer, beside the official one",
    "control": "planning and reports of a simulated farm on PostgreSQL",
    "dead": "meeting the one live peer among dead ones that are still announced, beside an official peer",
    "drives": "two thousand small drives at once, and ten thousand that lie idle",
    "gateway": "a file of a drive over HTTP, beside the official serve-drive and hypercore-blob-server",
    "nat": "who reaches whom through open, consistent and random NATs, official and our peers",
    "pages": "first byte and queries of every page and API list in a large farm on PostgreSQL",
    "tabs": "what open pages cost the web process while drives change",
    "transfer": "one core from peer to peer, official and ours on either side, over loopback or a lossy line",
}


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    if name not in BENCHMARKS:
        for known, what in BENCHMARKS.items():
            print(f"./farm bench {known:<12} {what}", file=sys.stderr)
        return 0 if name in ("", "-h", "--help") else 2
    return int(importlib.import_module(f"benchmarks.{name}").main(arguments))


if __name__ == "__main__":
    sys.exit(main())
