"""Answers challenges: proves that blocks are stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from farmwire.audit import MAX_PROOF_CHARS
from farmwire.proofs import prove_block
from hypercore.errors import HypercoreError

from ..launch import EngineParts

MAX_CHALLENGES = 1000
"""Challenges that wait until the engine is ready. The oldest are dropped first: their deadline is nearest."""

log = logging.getLogger(__name__)


class Prover:
    """Challenges wait until the engine has all its keys; `run` answers them one after the other."""

    def __init__(
        self,
        parts: EngineParts,
        *,
        is_assigned: Callable[[bytes], bool],
        write: Callable[[dict[str, Any]], None],
    ) -> None:
        """`is_assigned` returns whether the worker keeps a key; `write` is called with each answer."""
        self._parts = parts
        self._is_assigned = is_assigned
        self._write = write
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_CHALLENGES)

    def put(self, challenge: dict[str, Any]) -> None:
        """Answer a `prove` command soon."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(challenge)

    async def run(self) -> None:
        """Run until cancelled. Begins once every key is loaded: before, a stored copy seems missing."""
        while True:
            challenge = await self._waiting.get()
            await self._parts.engine.loaded()
            try:
                self._write(await self._answer(challenge))
            except (KeyError, TypeError, ValueError, HypercoreError) as error:
                # No answer: control asks again, which is better than an answer without proofs.
                log.error("cannot prove %.100r: %r", challenge, error)

    async def _answer(self, challenge: dict[str, Any]) -> dict[str, Any]:
        parts = self._parts
        key, core = bytes.fromhex(challenge["key"]), bytes.fromhex(challenge["core"])
        answer: dict[str, Any] = {"event": "proof", "id": challenge["id"], "core": core.hex(), "proofs": []}
        answer["error"] = ""
        if not self._is_assigned(key):
            answer["error"] = "this worker does not keep that key"
        elif core != key and core not in parts.owners.cores_of(key):
            answer["error"] = "that core is not known to belong to that key"
        else:
            parts.engine.wake(key)  # its seed emits the damage that is found while proving
            session = parts.cores.get(core, active=False)
            size = 0
            try:
                for block in challenge["blocks"]:
                    proof = prove_block(session.core, block)
                    size += len(proof.data)
                    if size > MAX_PROOF_CHARS:
                        break
                    answer["proofs"].append({"block": proof.block, "data": proof.data})
                    await asyncio.sleep(0)  # a block may have 15 MiB
            finally:
                session.close()
        return answer
