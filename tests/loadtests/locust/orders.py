"""Logs at its end how many parsers a worker's orders for users have cost: a locustfile."""

import logging
from itertools import count
from typing import Any

from locust import argument_parser, events, runners
from locust.env import Environment

_built = count()
_build = argument_parser.get_empty_argument_parser


def _count(*args: Any, **options: Any) -> Any:
    next(_built)
    return _build(*args, **options)


argument_parser.get_empty_argument_parser = _count


@events.quitting.add_listener
def _log(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, runners.WorkerRunner):
        logging.getLogger("orders").info("%d parsers were built", next(_built))
