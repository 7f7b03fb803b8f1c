"""Several sessions of one core."""

from __future__ import annotations

import asyncio

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.testing.cores import make_writer


def test_the_lowest_fork_limit_of_all_sessions_applies() -> None:
    async def scene() -> None:
        writer = make_writer()
        async with Corestore(writer.store) as cores:
            careful, careless = cores.get(writer.core.key), cores.get(writer.core.key)
            replicator = careful._open.replicator
            assert replicator.max_fork is None
            careful.follow_forks(2)
            careless.follow_forks(None)
            assert replicator.max_fork == 2
            careless.follow_forks(7)
            assert replicator.max_fork == 2
            careful.follow_forks(3)
            assert replicator.max_fork == 3
            careful.close()
            assert replicator.max_fork == 7
            careless.follow_forks(None)
            assert replicator.max_fork is None

    asyncio.run(scene())


def test_a_store_lists_manifests_in_portions_and_names_by_their_beginning() -> None:
    async def scene() -> None:
        store = memory_store()
        writers = [make_writer(store=store, seed=seed) for seed in range(5)]
        store.open_core(bytes(32))  # without a manifest
        store.set_meta("a/1", b"x")
        store.set_meta("a/2", b"x")
        store.set_meta("b/1", b"x")
        for _ in range(2):
            found, after, calls = dict[bytes, object](), 0, 0
            while calls == 0 or after:
                portion, after = store.manifests(after, 2)
                found.update(portion)
                calls += 1
            assert calls == 3
            assert found == {writer.core.key: writer.core.manifest for writer in writers}
            assert store.meta_names("a/") == ["a/1", "a/2"]
            store.flush()
        store.set_meta("a/1", None)
        assert (store.meta_names("a/"), store.meta_names("")) == (["a/2"], ["a/2", "b/1"])
        gone = writers.pop().core.key
        store.remove_core(gone)
        assert gone not in dict(store.manifests(0, 100)[0])
        assert store.stored_manifest(gone) is None
        assert store.stored_manifest(writers[0].core.key) == writers[0].core.manifest

    asyncio.run(scene())
