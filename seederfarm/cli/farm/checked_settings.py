"""The farm's settings, for commands."""

from __future__ import annotations

from ...settings.env import SettingsWrong
from ...settings.load import load
from ...settings.table import FarmSettings
from ..common.failures import BadInput


def settings() -> FarmSettings:
    """Raises BadInput for settings that are wrong."""
    try:
        return load().checked()
    except SettingsWrong as error:
        raise BadInput(str(error)) from None
