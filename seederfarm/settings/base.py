"""Django's settings: `DJANGO_SETTINGS_MODULE=seederfarm.settings.base`.

Values that an operator may change come from `seederfarm.settings.table`. Wrong settings do not stop the
import, so that `manage.py check` can show all of them; `asgi.py`, the workers and the supervisor call
`LOADED.checked()`, which raises.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.templatetags.static import static
from django.urls import reverse_lazy

from . import table
from .load import load

if TYPE_CHECKING:
    from django.http import HttpRequest

LOADED = load()
FARM = LOADED.settings

SECRET_KEY = FARM.secret_key()
DEBUG = FARM.debug
ALLOWED_HOSTS = [*FARM.allowed_hosts, *([urlsplit(FARM.files_origin).hostname] if FARM.files_origin else [])]
CSRF_TRUSTED_ORIGINS = list(FARM.trusted_origins)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "seederfarm.registry",
    "seederfarm.control",
    "dashboard",
]

MIDDLEWARE = [
    "seederfarm.registry.middleware.Security",
    "dashboard.middleware.FilesOrigin",
    "dashboard.middleware.ContentPolicy",
    "dashboard.api.middleware.ApiAnswers",
    "seederfarm.registry.middleware.StaticFiles",
    "seederfarm.registry.middleware.Session",
    "seederfarm.registry.middleware.Common",
    "seederfarm.registry.middleware.Csrf",
    "seederfarm.registry.middleware.Authentication",
    "seederfarm.registry.middleware.Messages",
    "seederfarm.registry.middleware.XFrameOptions",
    "seederfarm.control.middleware.UndeliveredMessageMiddleware",
    "seederfarm.registry.middleware.VisibleText",
]
# Those look for Django's names in the list, not for subclasses
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

ROOT_URLCONF = "seederfarm.urls"
ASGI_APPLICATION = "seederfarm.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before those of the apps: unfold's with a defect.
        "DIRS": [Path(__file__).parents[1] / "registry" / "overrides"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database(farm: table.FarmSettings, *, wrong: bool) -> dict[str, Any]:
    """DATABASES["default"]. If DATABASE_URL is wrong, a backend that raises: nothing is written elsewhere."""
    if wrong:
        return {"ENGINE": "django.db.backends.dummy"}
    if farm.database.engine == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(farm.database_path),
            "OPTIONS": {
                # Writers wait for each other instead of failing when a reader becomes one.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    options: dict[str, Any] = dict(farm.database.options)
    options["pool"] = {"min_size": 1, "max_size": farm.database_pool, "timeout": 10, "max_idle": 300}
    options.setdefault("connect_timeout", 10)
    # The planner compiles where it expects many rows, and its guesses for the farm's statements are high
    options.setdefault("options", "-c jit=off")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": farm.database.name,
        "USER": farm.database.user,
        "PASSWORD": farm.database.password,
        "HOST": farm.database.host,
        "PORT": "" if farm.database.port is None else str(farm.database.port),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


FARM_DATABASE_WRONG = any(problem.name == "DATABASE_URL" for problem in LOADED.problems)
DATABASES = {"default": database(FARM, wrong=FARM_DATABASE_WRONG)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

EMAIL_HOST, EMAIL_PORT = FARM.mail_host, FARM.mail_port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = FARM.mail_user, FARM.mail_password
EMAIL_USE_TLS, EMAIL_USE_SSL = FARM.mail_security == "starttls", FARM.mail_security == "tls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = FARM.mail_from

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = FARM.time_zone

STATIC_URL = "/static/"
# The web process serves static files itself, from the packages they come in: no collectstatic.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = FARM.debug

LOGIN_URL = "dashboard:login"
LOGIN_REDIRECT_URL = "dashboard:overview"
CSRF_FAILURE_VIEW = "dashboard.pages.errors.forged"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = FARM.https
# Cookies ignore the port: the names keep two farms on one machine apart.
SESSION_COOKIE_NAME = f"farm_session_{FARM.web_port}"
CSRF_COOKIE_NAME = f"farm_csrf_{FARM.web_port}"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FARM.https else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024  # a seeds.txt of 200,000 lines may be pasted
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

SILENCED_SYSTEM_CHECKS = [
    # HSTS and HTTPS redirects are for public sites; secure cookies follow SEEDERFARM_HTTPS.
    "security.W004",
    "security.W008",
    *([] if FARM.https else ["security.W012", "security.W016"]),
]

PER_MESSAGE_LOGGERS = ("celery.app.trace", "celery.worker.strategy", "celery.beat")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "hypercore.printable.VisibleFormatter",
            "fmt": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        }
    },
    "filters": {"refused": {"()": "seederfarm.unfinished.WithoutTraceback"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": FARM.log_level.upper()},
    "loggers": {
        "django.request": {"filters": ["refused"]},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Two lines for each message of each worker would hide everything else; Flower shows them.
        **({} if FARM.log_level == "debug" else {name: {"level": "WARNING"} for name in PER_MESSAGE_LOGGERS}),
    },
}


def _may_list(label: str) -> Callable[[HttpRequest], bool]:
    """Whether a user sees the list of a model (`app_model`) in the admin: who may view or change its rows."""
    app, model = label.split("_")
    rights = (f"{app}.view_{model}", f"{app}.change_{model}")
    return lambda request: any(request.user.has_perm(right) for right in rights)


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": FARM.name,
    "SITE_HEADER": FARM.name,
    "SITE_SUBHEADER": "Always-on Hypercore peers",
    "SITE_SYMBOL": "psychiatry",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("registry/icon.svg")}
    ],
    "STYLES": [lambda request: static("registry/admin.css")],
    "SCRIPTS": [lambda request: static("registry/admin.js")],
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "236 253 245",
            "100": "209 250 229",
            "200": "167 243 208",
            "300": "110 231 183",
            "400": "52 211 153",
            "500": "16 185 129",
            # Of buttons: white on it, also at 80 % over white (hover), has a contrast above 4.5.
            "600": "6 95 70",
            "700": "6 78 59",
            "800": "5 65 50",
            "900": "4 54 42",
            "950": "2 44 34",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Pages",
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "dashboard",
                        "link": reverse_lazy("dashboard:overview"),
                        "active": lambda request: False,
                    },
                    {
                        "title": "Flower",
                        "icon": "local_florist",
                        "link": reverse_lazy("dashboard:flower"),
                        # roles.SEE_FLOWER, which cannot be imported before the settings
                        "permission": lambda request: request.user.has_perm("registry.change_worker"),
                    },
                ],
            },
            *(
                {
                    "title": title,
                    "separator": True,
                    "items": [
                        {
                            "title": name,
                            "icon": icon,
                            "link": reverse_lazy(f"admin:{model}_changelist"),
                            "permission": _may_list(model),
                        }
                        for name, icon, model in items
                    ],
                }
                for title, items in (
                    (
                        "Farm",
                        (
                            ("Drives", "hard_drive", "registry_drive"),
                            ("Copies", "content_copy", "registry_replica"),
                            ("Workers", "dns", "registry_worker"),
                            ("Sources", "rss_feed", "registry_source"),
                        ),
                    ),
                    (
                        "What happened",
                        (
                            ("Alerts", "notifications", "registry_alert"),
                            ("Events", "history", "registry_event"),
                            ("Audit log", "fact_check", "registry_auditentry"),
                            ("Samples", "monitoring", "registry_sample"),
                        ),
                    ),
                    (
                        "Access",
                        (
                            ("Users", "person", "auth_user"),
                            ("Groups", "group", "auth_group"),
                            ("Enrolment tokens", "badge", "registry_enrolmenttoken"),
                            ("API tokens", "key", "registry_apitoken"),
                            ("Tags", "sell", "registry_tag"),
                        ),
                    ),
                )
            ),
        ],
    },
}
