"""The ASGI application: `uvicorn seederfarm.asgi:application`. Does not start while a setting is wrong."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from .body_limit import BodyLimit
from .settings import table

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
table.load().checked()
application = BodyLimit(get_asgi_application())
