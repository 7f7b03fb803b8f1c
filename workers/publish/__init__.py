"""Publishing: a folder is mirrored into a drive, which the engine seeds like any other."""
