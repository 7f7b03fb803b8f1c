"""Manifests of all versions, against official ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.crypto import blake2b_256, discovery_key, namespace
from hypercore.errors import FrameDecodeError
from hypercore.keys import encode_key
from hypercore.manifest import (
    DEFAULT_NAMESPACE,
    MAX_LINKED,
    MAX_SIGNERS,
    MAX_USER_DATA_BYTES,
    MAX_VERSION,
    Manifest,
    Prologue,
    Signer,
)
from support.codec_cases import (
    Json,
    assert_garbage_is_refused,
    assert_reads,
    hashes,
    load,
    manifests,
    to_bytes,
    unhex,
)

OFFICIAL = [c for c in load("data/keys") if c["name"].startswith("manifest:")]


def from_json(value: Json) -> Manifest:
    prologue, linked, user_data = value["prologue"], value["linked"], value["userData"]
    return Manifest(
        version=value["version"],
        allow_patch=value["allowPatch"],
        quorum=value["quorum"],
        signers=tuple(Signer(unhex(s["namespace"]), unhex(s["publicKey"])) for s in value["signers"]),
        prologue=Prologue(unhex(prologue["hash"]), prologue["length"]) if prologue else None,
        linked=tuple(unhex(key) for key in linked) if linked else None,
        user_data=unhex(user_data) if user_data else None,
    )


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: case["name"])
def test_a_manifest_has_the_official_bytes_and_key(case: Json) -> None:
    expected = case["output"]
    manifest = from_json(expected["decoded"])
    assert manifest.to_bytes().hex() == expected["encoded"]
    assert manifest.key().hex() == expected["key"]
    assert discovery_key(manifest.key()).hex() == expected["discoveryKey"]
    assert encode_key(manifest.key()) == expected["z32"]
    assert_reads(Manifest.decode, unhex(expected["encoded"]), manifest)


def is_plain(case: Json) -> bool:
    """Whether it was made without the fields that `create` does not take."""
    made = case["inputs"]["manifest"]
    has_namespaces = any("namespace" in signer for signer in made["signers"])
    return not (has_namespaces or made.get("linked") or made.get("userData"))


@pytest.mark.parametrize("case", [c for c in OFFICIAL if is_plain(c)], ids=lambda case: case["name"])
def test_create_fills_in_what_the_official_code_fills_in(case: Json) -> None:
    given_, expected = case["inputs"]["manifest"], from_json(case["inputs"]["normalized"])
    prologue = given_.get("prologue")
    made = Manifest.create(
        tuple(unhex(signer["publicKey"]) for signer in given_["signers"]),
        version=given_.get("version", 1),
        quorum=given_.get("quorum"),
        allow_patch=given_.get("allowPatch", False),
        prologue=Prologue(unhex(prologue["hash"]), prologue["length"]) if prologue else None,
    )
    assert made == expected


def test_the_default_manifest_is_seventy_bytes() -> None:
    manifest = Manifest.default(bytes(range(32)))
    assert manifest.to_bytes() == bytes.fromhex("0100000101" + "00") + DEFAULT_NAMESPACE + bytes(range(32))
    assert len(manifest.to_bytes()) == 70


def test_a_compat_core_is_known_by_its_only_signer() -> None:
    case = next(c for c in load("data/keys") if c["name"] == "compat-key")
    key = unhex(case["inputs"]["publicKey"])
    manifest = Manifest.default(key)
    assert manifest.is_compat_with(key) is case["output"]["isCompat"] is True
    assert not manifest.is_compat_with(manifest.key())
    assert not Manifest.create((key, bytes(32))).is_compat_with(key)


def test_the_blobs_core_of_a_drive_follows_from_its_manifest() -> None:
    case = next(c for c in load("data/keys") if c["name"] == "drive-content-key")
    manifest, key = from_json(case["inputs"]["dbManifest"]), unhex(case["inputs"]["dbKey"])
    content = manifest.content_manifest(key)
    assert content is not None
    assert content.to_bytes().hex() == case["output"]["encoded"]
    assert content.key().hex() == case["output"]["key"]


@pytest.mark.parametrize(
    "case",
    [c for c in load("data/drive") if "driveManifest" in c["output"] and "contentKey" in c["output"]],
    ids=lambda case: case["name"],
)
def test_the_blobs_core_of_an_official_drive_is_found(case: Json) -> None:
    expected = case["output"]
    manifest = Manifest.from_bytes(unhex(expected["driveManifest"]))
    assert manifest.key().hex() == expected["driveKey"]
    content = manifest.content_manifest(unhex(expected["driveKey"]))
    assert content is not None
    assert content.key().hex() == expected["contentKey"]


def test_old_drives_name_their_blobs_core_themselves() -> None:
    key = bytes(range(32))
    old = Manifest.create((key,), version=0)
    assert old.content_manifest(old.key()) is None
    assert Manifest.default(key).content_manifest(key) is None


def test_a_content_manifest_leaves_out_what_the_drive_carries_beside_its_signers() -> None:
    manifest = Manifest(
        version=2,
        allow_patch=True,
        quorum=2,
        signers=(Signer(DEFAULT_NAMESPACE, bytes(32)), Signer(bytes(32), bytes(range(32)))),
        prologue=Prologue(bytes(32), 3),
        linked=(bytes(32),),
        user_data=b"mine",
    )
    content = manifest.content_manifest(manifest.key())
    assert content is not None
    assert (content.version, content.quorum, content.allow_patch) == (2, 2, True)
    assert (content.prologue, content.linked, content.user_data) == (None, None, None)
    expected = blake2b_256(namespace("hyperdrive", 0), manifest.key(), bytes(32))
    assert content.signers[1] == Signer(expected, bytes(range(32)))


@given(manifests())
def test_a_manifest_survives_a_round_trip_and_every_truncation(manifest: Manifest) -> None:
    assert_reads(Manifest.decode, to_bytes(manifest), manifest)


@given(manifests(), st.integers(0, 2**16))
def test_a_flipped_bit_of_a_manifest_changes_its_key(manifest: Manifest, at: int) -> None:
    encoded = bytearray(manifest.to_bytes())
    encoded[(at >> 3) % len(encoded)] ^= 1 << (at & 7)
    try:
        changed = Manifest.from_bytes(bytes(encoded))
    except FrameDecodeError:
        return
    # Flags that mean nothing may change; then the manifest is the same, and so is its key
    assert (changed.key() == manifest.key()) == (changed == manifest)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=80).map(lambda tail: b"\1\0\0\1\1\0" + tail)))
def test_garbage_raises_only_frame_decode_error(garbage: bytes) -> None:
    assert_garbage_is_refused(Manifest, garbage)


def test_newer_versions_types_hashes_and_signatures_are_refused() -> None:
    signer = bytes(64)
    for encoded in (
        Writer().uint(MAX_VERSION + 1).uint(0).uint(0).uint(0).uint(0),
        Writer().uint(1).uint(0).uint(1).uint(0).uint(0),
        Writer().uint(1).uint(0).uint(0).uint(1).uint(1).uint(1).raw(signer),
        Writer().uint(0).uint(1).uint(1).uint(0).raw(signer),
        Writer().uint(0).uint(0).uint(3).raw(signer),
    ):
        with pytest.raises(FrameDecodeError):
            Manifest.from_bytes(bytes(encoded))


@given(hashes)
def test_a_version_1_manifest_with_newer_fields_is_read_as_the_official_decoder_does(key: bytes) -> None:
    encoded = bytes(Writer().uint(1).uint(4 | 8).uint(0).uint(0).uint(0).uint(1).raw(key).buffer(b"x"))
    manifest = Manifest.from_bytes(encoded)
    assert (manifest.linked, manifest.user_data) == ((key,), b"x")
    assert manifest.to_bytes() == encoded


def test_the_number_of_signers_is_bounded() -> None:
    signer = Signer(bytes(32), bytes(32))
    for version in (0, 1):
        largest = Manifest(version=version, quorum=0, signers=(signer,) * MAX_SIGNERS)
        assert Manifest.decode(Reader(to_bytes(largest))) == largest
        more = Manifest(version=version, quorum=0, signers=(signer,) * (MAX_SIGNERS + 1))
        with pytest.raises(FrameDecodeError, match="at most"):
            Manifest.decode(Reader(to_bytes(more)))


def test_the_number_of_linked_cores_is_bounded() -> None:
    largest = Manifest(version=2, quorum=0, signers=(), linked=(bytes(32),) * MAX_LINKED)
    assert Manifest.decode(Reader(to_bytes(largest))) == largest
    more = Manifest(version=2, quorum=0, signers=(), linked=(bytes(32),) * (MAX_LINKED + 1))
    with pytest.raises(FrameDecodeError, match="at most"):
        Manifest.decode(Reader(to_bytes(more)))


def test_the_user_data_is_bounded() -> None:
    largest = Manifest(version=2, quorum=0, signers=(), user_data=bytes(MAX_USER_DATA_BYTES))
    assert Manifest.decode(Reader(to_bytes(largest))) == largest
    more = Manifest(version=2, quorum=0, signers=(), user_data=bytes(MAX_USER_DATA_BYTES + 1))
    with pytest.raises(FrameDecodeError, match="at most"):
        Manifest.decode(Reader(to_bytes(more)))
