"""Hyperdrive: files, links and their contents."""

from .blobs import Blobs
from .content import blobs_key_of, derived_blobs_key, find_blobs_key
from .drive import Drive, FileChange, FolderItem
from .entries import BlobId, Entry
from .writable import WritableDrive, writable_drive
from .writer import BlobStream, DriveBatch, DriveWriter

__all__ = [
    "BlobId",
    "BlobStream",
    "Blobs",
    "Drive",
    "DriveBatch",
    "DriveWriter",
    "Entry",
    "FileChange",
    "FolderItem",
    "WritableDrive",
    "blobs_key_of",
    "derived_blobs_key",
    "find_blobs_key",
    "writable_drive",
]
