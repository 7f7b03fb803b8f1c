"""Hyperdrive: files, links and their contents."""

from .blobs import Blobs
from .content import blobs_key_of, derived_blobs_key, find_blobs_key
from .drive import Drive, FileChange, FolderItem
from .entries import BlobId, Entry

__all__ = [
    "BlobId",
    "Blobs",
    "Drive",
    "Entry",
    "FileChange",
    "FolderItem",
    "blobs_key_of",
    "derived_blobs_key",
    "find_blobs_key",
]
