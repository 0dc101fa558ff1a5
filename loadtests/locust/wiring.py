"""Connects us to Locust by its documented events; it is all that a locustfile needs to import."""

import signal
import sys
from argparse import Namespace
from functools import cache
from typing import Any, NoReturn

import gevent
import locust.argument_parser
import locust.runners
import locust.stats
from locust.env import Environment
from locust.event import Events
from locust.runners import LocalRunner, Runner, WorkerRunner

from loadtests.errors import LoadTestError
from loadtests.locust import arguments
from loadtests.locust.master import MasterSide
from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.web import add_tab
from loadtests.locust.worker import WorkerSide
from reports.exit_status import ExitStatus
from reports.units import rounded

_REPORT_SECONDS = 1.0


def install(events: Events) -> None:
    """Listen to Locust's events; once a process."""
    # Documented to be replaced: whole milliseconds cannot show what a WebSocket server does.
    locust.stats.bucket_response_time = rounded  # type: ignore[assignment] # it need not be whole
    # How often workers tell of their users; with its 3 s the user count would lag behind.
    locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
    # A worker builds a parser to know them, once for each option of each order for users, and
    # takes seconds for that on a busy machine, in which it is silent and thus taken for missing.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    events.init_command_line_parser.add_listener(arguments.add_arguments)
    events.init.add_listener(_on_init)


def _on_init(environment: Environment, runner: Runner, web_ui: Any, **_: object) -> None:  # noqa: ANN401
    available = environment.available_user_classes or environment.user_classes_by_name
    # A class that a locustfile has under two names is there twice.
    classes = [
        kind
        for kind in dict.fromkeys(available.values())
        if isinstance(kind, type) and issubclass(kind, SwarmUser)
    ]
    _complete_options(environment)
    gevent.signal_handler(signal.SIGINT, _interrupt_main)
    if not isinstance(runner, WorkerRunner):
        for fault in filter(None, (kind.fault() for kind in classes)):
            _refuse(fault)
        master = MasterSide(environment, runner, classes)
        _check(environment, master)
        if web_ui is not None:
            add_tab(web_ui, environment, master)
    if isinstance(runner, WorkerRunner | LocalRunner):
        WorkerSide(environment, runner, classes).greet()
    # What is due in so many seconds is so from the last time that the loop looked at the clock,
    # which is before all imports: Locust's run time would be shorter by those.
    gevent.get_hub().loop.update_now()


def _interrupt_main() -> None:
    """Have Ctrl-C end Locust's main greenlet, not whichever greenlet runs just now.

    That could be the one that reads what a swarm says, whose last second would not be recorded.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def _check(environment: Environment, master: MasterSide) -> None:
    """End a run without a web UI, where options could still be changed, before it begins."""
    if environment.parsed_options is None or not environment.parsed_options.headless:
        return
    try:
        master.check()
    except LoadTestError as error:
        _refuse(str(error))


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(f"swarmgate: {why}\n")
    sys.exit(ExitStatus.USAGE)


def _complete_options(environment: Environment) -> None:
    """Have all options by their defaults where Locust is a library, which need not parse any."""
    given = environment.parsed_options
    if given is None or not hasattr(given, "swarm_flags"):
        parser = locust.argument_parser.get_parser(default_config_files=[])
        known = {} if given is None else vars(given)
        environment.parsed_options = Namespace(**{**vars(parser.parse_args([])), **known})
