"""Our tab in Locust's web UI."""

from typing import Any

from locust.env import Environment

from loadtests.locust_engine.master import MasterSide


def add_tab(web_ui: Any, environment: Environment, master: MasterSide) -> None:  # noqa: ANN401
    """Add it."""
