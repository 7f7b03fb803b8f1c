"""Properties do not fail for taking long: machines differ, and may have other things to do. `./farm test
--fast` tries fewer examples."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("hypercore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hypercore")
settings.register_profile("fast", settings.get_profile("hypercore"), max_examples=15)

# A shell starts programs in the background with Ctrl-C ignored, and they pass that on to their children: the
# examples would not end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
