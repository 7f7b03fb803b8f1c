"""Properties do not fail for taking long: machines differ, and may have other things to do. `./farm test
--fast` tries fewer examples."""

from hypothesis import settings

settings.register_profile("hypercore", deadline=None)
settings.load_profile("hypercore")
settings.register_profile("fast", deadline=None, max_examples=25)
