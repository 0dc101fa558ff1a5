"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from target_app.settings import Settings


def test_settings_come_from_the_environment_and_are_fixed(monkeypatch):
    monkeypatch.setenv("TARGET_HEARTBEAT_SECONDS", "2.5")
    settings = Settings()
    assert settings.heartbeat_seconds == 2.5
    assert Settings(heartbeat_seconds=0).heartbeat_seconds == 0
    with pytest.raises(ValidationError):
        settings.heartbeat_seconds = 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_seconds": -1},
        {"heartbeat_seconds": math.nan},
        {"drain_announce_seconds": 0},
        {"drain_timeout_seconds": math.inf},
        {"port": 65536},
        {"host": ""},
        {"no_such_setting": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)
