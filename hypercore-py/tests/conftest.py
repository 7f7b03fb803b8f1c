"""Properties do not fail for taking long: machines differ, and may have other things to do."""

from hypothesis import settings

settings.register_profile("hypercore", deadline=None)
settings.load_profile("hypercore")
