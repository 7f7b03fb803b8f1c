"""Hyperdrive: files, links and their contents."""

from .blobs import Blobs
from .content import blobs_key_of, derived_blobs_key, find_blobs_key
from .drive import Drive, FileChange, FolderItem
from .entries import BlobId, Entry
from .writer import DriveBatch, DriveWriter

__all__ = [
    "BlobId",
    "Blobs",
    "Drive",
    "DriveBatch",
    "DriveWriter",
    "Entry",
    "FileChange",
    "FolderItem",
    "blobs_key_of",
    "derived_blobs_key",
    "find_blobs_key",
]
