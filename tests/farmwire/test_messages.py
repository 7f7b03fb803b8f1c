"""The messages between workers and control plane."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farmwire.assignment import (
    PAGE_ENTRIES,
    Assignment,
    AssignmentAssembler,
    AssignmentEntry,
    AssignmentPage,
    entries_digest,
)
from farmwire.audit import MAX_ANSWER_BYTES, MAX_PROOF_CHARS, MIN_CUT_CHARS, Answer, BlockProof
from farmwire.envelope import CLOCK_SKEW, MAX_LIFETIME, next_seq, node_id, open_envelope, public_key_of, seal
from farmwire.gaps import CoreGaps, Holding, covers, gaps_left, held_runs
from farmwire.join import JoinToken
from farmwire.message import decode, to_builtins
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.replay import WINDOW, ReplayWindow
from farmwire.report import (
    MAX_ENGINES,
    MAX_REPLICAS,
    EngineStats,
    HostStats,
    OneEngine,
    ReplicaReport,
    Report,
)
from hypercore.crypto import KeyPair

CONTROL, WORKER, OTHER = (KeyPair.from_seed(bytes([i]) * 32) for i in range(1, 4))
ME, THEM = node_id(WORKER.public_key), node_id(CONTROL.public_key)
NOW = 1_800_000_000.0
BODY = AssignmentEntry(key="ab" * 32, kind="drive")


def sealed(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "name": "t",
        "to": ME,
        "seq": 7,
        "expires": NOW + 60,
        "key_pair": CONTROL,
    } | changes
    body = arguments.pop("body", BODY)
    return json.loads(json.dumps(seal(body, **arguments)))


def opened(data: object, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"sender": THEM, "me": ME, "name": "t", "now": NOW, "window": ReplayWindow()}
    return open_envelope(data, **(arguments | changes))


def refusal(data: object, **changes: Any) -> RejectReason:
    with pytest.raises(MessageRejected) as caught:
        opened(data, **changes)
    return caught.value.reason


def test_an_envelope_gives_what_was_put_in() -> None:
    envelope = opened(sealed(expires=int(NOW + 60)))
    assert (envelope.sender, envelope.to, envelope.name, envelope.seq) == (THEM, ME, "t", 7)
    assert decode(envelope.body, AssignmentEntry) == BODY


def test_an_envelope_is_accepted_once() -> None:
    window = ReplayWindow()
    data = sealed()
    opened(data, window=window)
    assert refusal(data, window=window) is RejectReason.REPLAYED


def test_a_refused_envelope_does_not_use_up_its_number() -> None:
    window = ReplayWindow()
    assert refusal(sealed() | {"to": THEM}, window=window) is RejectReason.WRONG_RECIPIENT
    assert refusal(sealed(key_pair=OTHER), window=window) is RejectReason.WRONG_SENDER
    assert window.highest == 0


@pytest.mark.parametrize("field", ["from", "to", "name", "seq", "expires", "body"])
def test_every_field_is_signed(field: str) -> None:
    changed: dict[str, Any] = {
        "from": ME, "to": THEM, "name": "u", "seq": 8, "expires": NOW + 61, "body": {"key": "cd" * 32}
    }  # fmt: skip
    data = sealed() | {field: changed[field]}
    reason = refusal(data, sender=None, me=data["to"], name=data["name"])
    assert reason is RejectReason.BAD_SIGNATURE


def test_a_signature_of_another_client_does_not_do() -> None:
    forged = sealed(key_pair=OTHER) | {"from": THEM}
    assert refusal(forged) is RejectReason.BAD_SIGNATURE


def test_a_message_for_another_task_is_refused() -> None:
    assert refusal(sealed(name="worker.audit")) is RejectReason.WRONG_NAME


def test_clocks_may_differ_by_some_minutes_but_not_more() -> None:
    opened(sealed(expires=NOW - CLOCK_SKEW + 1))
    assert refusal(sealed(expires=NOW - CLOCK_SKEW - 1)) is RejectReason.EXPIRED
    assert refusal(sealed(expires=NOW + MAX_LIFETIME + CLOCK_SKEW + 1)) is RejectReason.EXPIRED


def test_a_body_is_bounded_on_both_sides() -> None:
    with pytest.raises(MessageRejected) as caught:
        sealed(limit=100)
    assert caught.value.reason is RejectReason.TOO_LARGE
    assert refusal(sealed(), limit=100) is RejectReason.TOO_LARGE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_garbage_is_refused_and_nothing_else(data: object) -> None:
    assert refusal(data) is RejectReason.MALFORMED


@given(st.sampled_from(["from", "to", "name", "seq", "expires", "body", "sig"]), json_values)
def test_a_damaged_envelope_is_refused_and_nothing_else(field: str, value: object) -> None:
    data = sealed()
    if data[field] != value:
        with pytest.raises(MessageRejected):
            opened(data | {field: value}, sender=None)


# --- numbers


def test_a_sender_that_lost_its_state_goes_on_above_its_last_number() -> None:
    before = next_seq(0, NOW)
    assert next_seq(0, NOW + 1) > before
    assert next_seq(before, NOW - 1e6) == before + 1


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_a_window_accepts_every_number_at_most_once(numbers: list[int]) -> None:
    window, accepted = ReplayWindow(), set()
    for number in numbers:
        new = window.accept(number)
        assert not (new and number in accepted)
        if number and number not in accepted and number > window.highest - WINDOW:
            assert new
        if new:
            accepted.add(number)
        window = ReplayWindow.from_text(window.to_text())
    assert window.mask.bit_length() <= WINDOW


def test_an_empty_column_is_a_window_that_saw_nothing() -> None:
    assert ReplayWindow.from_text("").accept(1)


# --- assignments


def entries(count: int) -> list[AssignmentEntry]:
    return [AssignmentEntry(key=f"{i:064x}", priority=i % 10) for i in range(count)]


@settings(max_examples=15)
@given(st.integers(0, 2 * PAGE_ENTRIES + 3), st.randoms(use_true_random=False))
def test_pages_in_any_order_and_number_make_the_assignment(count: int, random: Any) -> None:
    assignment = Assignment(version=3, entries=entries(count))
    pages = [
        decode(json.loads(json.dumps(to_builtins(page))), AssignmentPage) for page in assignment.to_pages()
    ]
    arriving = pages + random.sample(pages, len(pages))
    random.shuffle(arriving)
    assembler = AssignmentAssembler()
    results = [assembler.add(page) for page in arriving]
    complete = [result for result in results if result is not None]
    assert complete
    assert complete[0].digest == assignment.digest
    assert {entry.key for entry in complete[0].entries} == {entry.key for entry in assignment.entries}


def test_a_page_of_a_newer_assignment_replaces_what_was_collected() -> None:
    old = Assignment(version=1, entries=entries(PAGE_ENTRIES + 1)).to_pages()
    new = Assignment(version=2, entries=entries(2)).to_pages()
    assembler = AssignmentAssembler()
    assert assembler.add(old[0]) is None
    assert assembler.add(new[0]) is not None
    assert assembler.add(old[1]) is None


def test_pages_that_do_not_fit_their_digest_are_refused() -> None:
    page = Assignment(version=1, entries=entries(3)).to_pages()[0]
    with pytest.raises(MessageRejected):
        AssignmentAssembler().add(
            AssignmentPage(version=1, page=0, pages=1, digest="00" * 32, entries=page.entries)
        )


def test_the_digest_is_of_the_set_and_sees_every_field() -> None:
    some = entries(5)
    assert entries_digest(some) == entries_digest(reversed(some))
    assert entries_digest(some) != entries_digest(some[:4])
    assert entries_digest([BODY]) != entries_digest([AssignmentEntry(key=BODY.key, kind="core")])
    assert entries_digest([BODY]) != entries_digest([AssignmentEntry(key=BODY.key, kind="drive", priority=1)])
    assert entries_digest([BODY]) != entries_digest([AssignmentEntry(key=BODY.key, kind="drive", max_fork=0)])


# --- reports and tokens


def test_the_largest_report_fits_an_envelope() -> None:
    replica = ReplicaReport(
        key="ab" * 32, phase="error", kind="drive", length=2**53 - 1, blocks=2**53 - 1, have_blocks=2**53 - 1,
        bytes=2**53 - 1, have_bytes=2**53 - 1, peers=9999, error="e" * 500, title="t" * 200, observed_at=NOW,
    )  # fmt: skip
    data = sealed(body=Report(replicas=[replica] * MAX_REPLICAS))
    assert len(decode(opened(data).body, Report).replicas) == MAX_REPLICAS


@pytest.mark.parametrize(
    "change", [{"phase": "fine"}, {"key": "xyz"}, {"have_blocks": -1}, {"observed_at": "now"}]
)
def test_a_report_that_makes_no_sense_is_refused_with_the_field_named(change: dict[str, Any]) -> None:
    replica = to_builtins(ReplicaReport(key="ab" * 32, phase="complete", observed_at=NOW)) | change
    with pytest.raises(MessageRejected, match=next(iter(change))):
        decode({"replicas": [replica]}, Report)


@pytest.mark.parametrize(
    "change",
    [
        {"nat": "wide open"},
        {"address": "<b>1.2.3.4</b>"},
        {"address": "1" * 61},
        {"direct": -1},
        {"punched": 1e300},
        {"relayed": float("nan")},
        {"index": 1024},
        {"id": "no key"},
    ],
)
def test_an_engine_that_reports_nonsense_of_its_network_is_refused(change: dict[str, Any]) -> None:
    honest = {"index": 0, "running": True, "nat": "open", "address": "[2001:db8::1]:49737", "direct": 10**6}
    assert decode(honest, OneEngine).direct == 10**6
    with pytest.raises(MessageRejected):
        decode(honest | change, OneEngine)


@pytest.mark.parametrize("load", [float("nan"), float("inf"), -0.1, 2e6])
def test_a_load_that_no_machine_has_is_refused(load: float) -> None:
    host = {
        "cpu_percent": 1.0, "load": 0.1, "cores": 1, "memory_bytes": 1, "memory_used_bytes": 1,
        "disk_bytes": 1, "disk_free_bytes": 1, "uptime": 1.0,
    }  # fmt: skip
    assert decode(host, HostStats).load_15 is None
    with pytest.raises(MessageRejected):
        decode(host | {"load_15": load}, HostStats)


def test_more_engines_than_a_worker_has_are_refused() -> None:
    engine = {"index": 0, "running": True}
    stats = {
        "running": True, "shards": 1, "restarts": 0, "connections": 0, "firewalled": None, "rss_bytes": 0,
        "stored_bytes": 0, "down_per_second": 0.0, "up_per_second": 0.0,
    }  # fmt: skip
    assert len(decode(stats | {"engines": [engine] * MAX_ENGINES}, EngineStats).engines) == MAX_ENGINES
    with pytest.raises(MessageRejected):
        decode(stats | {"engines": [engine] * (MAX_ENGINES + 1)}, EngineStats)


def test_a_report_with_too_many_replicas_is_refused() -> None:
    replica = to_builtins(ReplicaReport(key="ab" * 32, phase="complete", observed_at=NOW))
    with pytest.raises(MessageRejected):
        decode({"replicas": [replica] * (MAX_REPLICAS + 1)}, Report)


def test_a_join_token_survives_being_pasted() -> None:
    token = JoinToken(farm="farm", control=THEM, broker="rediss://u:p@h:6379/0", secret="s" * 32)
    assert JoinToken.from_text(f"  {token.to_text()}\n") == token


@given(st.text(max_size=80))
def test_a_damaged_join_token_says_so(text: str) -> None:
    for damaged in (text, "sfj1_" + text):
        with pytest.raises(MessageRejected):
            JoinToken.from_text(damaged)


def test_node_ids_are_public_keys() -> None:
    assert public_key_of(ME) == WORKER.public_key


def test_an_answer_may_leave_out_its_last_proofs_when_it_is_full_and_no_others() -> None:
    def answer(*sizes: int, blocks: tuple[int, ...] = (1, 2, 3)) -> Answer:
        proofs = [BlockProof(block=b, data="x" * size) for b, size in zip(blocks, sizes, strict=False)]
        return Answer(id="1", core="ab" * 32, proofs=proofs)

    asked = [1, 2, 3]
    assert answer(9, 9, 9).is_whole(asked)
    assert answer(MIN_CUT_CHARS, 9).is_whole(asked)
    assert not answer(MIN_CUT_CHARS - 10, 9).is_whole(asked), "there was room"
    assert not answer(MIN_CUT_CHARS, 9, blocks=(1, 3)).is_whole(asked)
    assert not answer(MIN_CUT_CHARS, 9, 9, blocks=(1, 2, 2)).is_whole(asked)
    assert not answer().is_whole(asked)
    full = answer(MAX_PROOF_CHARS)
    sealed(body=full, limit=MAX_ANSWER_BYTES)
    with pytest.raises(MessageRejected):
        sealed(body=answer(MAX_PROOF_CHARS, MIN_CUT_CHARS), limit=MAX_ANSWER_BYTES)


# --- gaps


def copy_with(*runs: tuple[int, int], length: int = 100, fork: int = 0, exact: bool = True) -> Holding:
    lacking = sum(end - start for start, end in runs)
    numbers = [number for run in runs for number in run]
    gaps = (CoreGaps(length=length, runs=numbers, exact=exact),) if runs else ()
    return Holding(fork, length, length, length - lacking, gaps)


TWO_CORES = Holding(0, 10, 30, 28, (CoreGaps(length=10), CoreGaps(length=20, runs=[1, 3])))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (copy_with(), copy_with(), True),
        (copy_with(), copy_with((3, 5)), True),
        (copy_with((3, 5)), copy_with(), False),
        (copy_with((3, 5)), copy_with((3, 5)), True),
        (copy_with((3, 5)), copy_with((2, 6)), True),
        (copy_with((3, 5)), copy_with((4, 6)), False),
        (copy_with(), copy_with(length=101), False),
        (copy_with(), copy_with((100, 101), length=101), True),
        (copy_with((98, 100)), copy_with((98, 101), length=101), True),
        (copy_with((100, 101), length=101), copy_with(), True),
        (copy_with(), copy_with((0, 100), exact=False), True),
        (copy_with((0, 50), exact=False), copy_with((0, 50), exact=False), False),
        (copy_with((3, 5)), copy_with((3, 5), fork=1), False),
        (copy_with(fork=1), copy_with((3, 5)), True),
        (Holding(0, 100, 100, 60), copy_with((50, 100)), False),
        (copy_with((0, 10)), Holding(0, 100, 100, 60), False),
        (copy_with(), Holding(0, 100, 100, 60), True),
        (copy_with((3, 5)), Holding(0, 100, 100, 0), True),
        (Holding(0, 10, 30, 30), TWO_CORES, True),
        (TWO_CORES, Holding(0, 10, 30, 30), False),
        (copy_with((5, 3), (7, 8)), copy_with((3, 5)), False),  # no gaps that make sense
    ],
)  # fmt: skip
def test_whether_one_copy_covers_another(one: Holding, other: Holding, expected: bool) -> None:
    assert covers(one, other) is expected


@given(
    st.lists(st.sets(st.integers(0, 40), max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(35, 45), min_size=4, max_size=4),
)
def test_covers_and_what_is_left_agree_with_sets_of_blocks(
    lacking: list[set[int]], lengths: list[int]
) -> None:
    copies, sets = [], []
    for missing, length in zip(lacking, lengths, strict=False):
        missing = {block for block in missing if block < length}
        runs: list[int] = []
        for block in sorted(missing):
            if runs and runs[-1] == block:
                runs[-1] += 1
            else:
                runs += [block, block + 1]
        gaps = (CoreGaps(length=length, runs=runs),) if runs else ()
        copies.append(Holding(0, length, length, length - len(missing), gaps))
        sets.append(set(range(length)) - missing)
        assert {
            block
            for start, end in held_runs(CoreGaps(length=length, runs=runs))
            for block in range(start, end)
        } == sets[-1]
    for a, have in zip(copies, sets, strict=True):
        for b, needed in zip(copies, sets, strict=True):
            assert covers(a, b) is (needed <= have)
    longest = max(lengths[: len(copies)])
    assert gaps_left(copies) == longest - len(set.union(*sets))


def test_a_digest_alone_does_not_say_which_blocks_a_copy_has() -> None:
    theirs = CoreGaps(length=20, runs=[0, 9], exact=False, digest="ab")
    ours = CoreGaps(length=20, runs=[1, 20], exact=False, digest="ab")
    assert covers(Holding(0, 20, 20, 12, (theirs,)), Holding(0, 20, 20, 12, (theirs,)))
    assert not covers(Holding(0, 20, 20, 12, (ours,)), Holding(0, 20, 20, 12, (theirs,)))


def test_a_hash_or_key_with_a_line_feed_after_it_is_refused() -> None:
    for field, value in (("key", "ab" * 32), ("key", "ab" * 32 + "\n")):
        entry = {field: value, "kind": "core"}
        if value.endswith("\n"):
            with pytest.raises(MessageRejected):
                decode(entry, AssignmentEntry)
        else:
            assert decode(entry, AssignmentEntry).key == value


FIRST_USES = """
import sys, threading
from farmwire.message import Message, decode

sys.setswitchinterval(1e-6)
FIELDS = {f"field_{number}": number for number in range(20)}
for _ in range(40):
    here, parts = {"__module__": __name__}, {f"part_{number}": "Inner" for number in range(20)}
    Inner = type(Message)("Inner", (Message,), here | {"__annotations__": dict.fromkeys(FIELDS, "int")})
    Outer = type(Message)("Outer", (Message,), here | {"__annotations__": parts})
    together, made = threading.Barrier(8), []

    def use():
        together.wait()
        made.append(decode(dict.fromkeys(parts, FIELDS), Outer))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
"""


def test_threads_that_are_the_first_to_decode_a_message_do_not_end_the_process() -> None:
    """Two first reports at once ended control with a segmentation fault in msgspec."""
    done = subprocess.run([sys.executable, "-c", FIRST_USES], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
