"""The farm's settings, for commands."""

from __future__ import annotations

from ...settings.env import SettingsWrong
from ...settings.load import load
from ...settings.table import FarmSettings
from ..common.failures import BadInput


def settings() -> FarmSettings:
    """Return the settings of the farm. Raises BadInput for wrong ones."""
    try:
        return load().checked()
    except SettingsWrong as error:
        raise BadInput(str(error)) from None
