"""The connection to Locust by its documented events; all that a locustfile needs to import."""

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
from reports.outcome import ExitStatus
from reports.units import rounded

_REPORT_SECONDS = 1.0


def install(events: Events) -> None:
    """Listen to Locust's events; once per process."""
    # Documented as replaceable: whole milliseconds cannot show what a WebSocket server does.
    locust.stats.bucket_response_time = rounded  # type: ignore[assignment] # it need not be whole
    # How often workers report their users; with Locust's 3 s the user count would lag behind.
    locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
    # A worker builds a parser to find them, once for each option of each order for users, which
    # takes seconds on a busy machine; it is silent meanwhile and so considered missing.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    events.init_command_line_parser.add_listener(arguments.add_arguments)
    events.init.add_listener(_on_init)


def _on_init(environment: Environment, runner: Runner, web_ui: Any, **_: object) -> None:  # noqa: ANN401
    available = environment.available_user_classes or environment.user_classes_by_name
    # A class that a locustfile has under two names appears twice.
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
    # A timer counts from the last time that the loop read the clock, which was before all imports:
    # Locust's run time would be shorter by the time that those took.
    gevent.get_hub().loop.update_now()


def _interrupt_main() -> None:
    """Make Ctrl-C end Locust's main greenlet, not whichever greenlet is running.

    That could be the one that reads a swarm's output, whose last second would not be recorded.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def _check(environment: Environment, master: MasterSide) -> None:
    """End an invalid run before it begins, unless there is a web UI to change its options."""
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
    """Fill in the default options if Locust is used as a library, which need not parse any."""
    given = environment.parsed_options
    if given is None or not hasattr(given, "swarm_flags"):
        parser = locust.argument_parser.get_parser(default_config_files=[])
        known = {} if given is None else vars(given)
        environment.parsed_options = Namespace(**{**vars(parser.parse_args([])), **known})
