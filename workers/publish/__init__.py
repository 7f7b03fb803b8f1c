"""Publishing: a folder is mirrored into a drive of one's own, which the engine seeds like any other."""
