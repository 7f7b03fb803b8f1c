"""The ASGI application: `uvicorn seederfarm.asgi:application`. Does not start while a setting is wrong."""

from __future__ import annotations

import logging
import os

import django
from django.core.handlers.asgi import ASGIHandler

from .body_limit import BodyLimit
from .settings.load import load
from .unfinished import OneLine

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
load().checked()
django.setup(set_prefix=False)
logging.getLogger("uvicorn.error").addFilter(OneLine())


class Handler(ASGIHandler):
    """Sends files in pieces as large as the gateway gives them."""

    chunk_size = 256 << 10


application = BodyLimit(Handler())
