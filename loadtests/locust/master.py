"""The master's side of Locust: it conducts each test, follows its workers and judges the end."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import gevent
import locust.stats
from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, MasterRunner, Runner

from loadtests.errors import LoadTestError, UsageError
from loadtests.locust.arguments import flags_text, given_in, plan_for, thresholds_of
from loadtests.locust.clock import Reading
from loadtests.locust.conductor import Conductor, Worker
from loadtests.locust.ending import (
    Finished,
    stats_figures,
    threshold_lines,
)
from loadtests.locust.request_events import Listeners
from loadtests.locust.stats import enter, rows
from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.websocket_user import WebSocketUser, host_fault
from loadtests.locust.worker import COMMAND, REPORT, boot_id
from loadtests.plan.from_options import seed_of, source_of
from loadtests.plan.masking import masked_url
from loadtests.plan.plan import Plan, port_of, split_url
from loadtests.run import probe
from loadtests.run.run import default_record_path
from loadtests.scenarios.figures import against_figure
from loadtests.scenarios.registry import scenario_kind
from reports.outcome import ExitStatus, Outcome, worst
from reports.record import RECORD_SUFFIX, Interval, Line, RecordCutError, RecordError
from reports.threshold import Threshold, failures

_WATCH_SECONDS: Final = 1.0
_UNSEEN_LOOKS: Final = 2
# Locust is in the middle of something when we notice.
_GIVE_UP_SECONDS: Final = 0.1
_AFTERWARDS_SECONDS: Final = 0.1
# Readings of a clock at once when a worker joins, so that the first offset is a good one.
_FIRST_READINGS: Final = 16
# While everything starts, answers are slow; more readings follow, before the first round begins.
_SOON_READINGS: Final = 64
_SOON_SECONDS: Final = 0.02

logger = logging.getLogger("swarmgate")


class MasterSide:
    """All tests of one Locust session.

    Attributes:
        conductors: those of the current or last test, by user class.
        finished: the classes whose runs have ended in that test.
        observers: called with every line of every record, and its user class.
        problem: why that test could not begin; empty if it could.
    """

    def __init__(
        self, environment: Environment, runner: Runner, classes: Iterable[type[SwarmUser]]
    ) -> None:
        self.conductors: dict[str, Conductor] = {}
        self.finished: list[Finished] = []
        self.observers: list[Callable[[str, Line], None]] = []
        self._environment = environment
        self._runner = runner
        self._classes = tuple(classes)
        self._workers: dict[str, Worker] = {}
        self._boot_id = boot_id()
        self._is_running = False
        self._is_ending = False
        self.problem = ""
        self._statuses: list[ExitStatus] = []
        self._failed: list[tuple[Threshold, str]] = []
        runner.register_message(REPORT, self._on_report)
        events = environment.events
        self._listeners = Listeners(events.request, self._give_up)
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)
        # Not one of the runner's greenlets, which it ends when its last worker has gone.
        gevent.spawn(self._watch)

    def check(self) -> None:
        """Raise LoadTestError for options that no run could have, before anything runs."""
        self._check_flags()
        for kind in self._chosen():
            self._plan(kind, seed=0)
        for other in self._environment.user_classes:
            if issubclass(other, WebSocketUser):
                fault = host_fault(self._environment.host or other.host)
                if fault:
                    raise UsageError(fault)

    @property
    def workers(self) -> Sequence[Worker]:
        """All workers that have joined, in that order."""
        return tuple(self._workers.values())

    @property
    def class_names(self) -> frozenset[str]:
        """The names of all classes of swarm users."""
        return frozenset(kind.__name__ for kind in self._classes)

    @property
    def _options(self) -> Any:  # noqa: ANN401 - a namespace
        return self._environment.parsed_options

    def _chosen(self) -> list[type[SwarmUser]]:
        """Return the classes of swarm users in the test."""
        chosen = self._environment.user_classes
        return [kind for kind in self._classes if kind in chosen]

    def _plan(self, kind: type[SwarmUser], seed: int) -> Plan:
        others = (it for it in self._chosen() if it is not kind and it.scenario)
        users = self._runner.target_user_count or self._options.num_users or 1
        return plan_for(
            kind.described(),
            self._options,
            self._environment.host or kind.host,
            users=users // max(1, len(self._environment.user_classes)),
            workers=len(self._workers) or 1,
            seed=seed,
            known_elsewhere={
                name
                for other in others
                for name in scenario_kind(other.scenario).parameters_type.names()
            },
        )

    def _check_flags(self) -> None:
        """Reject flags that no class can use, and a server that is not there."""
        given = given_in(self._options)
        chosen = self._chosen()
        if "scenario" in given and chosen and all(kind.scenario for kind in chosen):
            names = ", ".join(kind.__name__ for kind in chosen)
            raise UsageError(
                f"--swarm-flags: --scenario is for classes without one, such as ScriptSwarm; "
                f"{names} has its own"
            )
        for pid in source_of(given).pids:
            if not probe.is_alive(pid):
                raise UsageError(f"--swarm-flags: --pid {pid}: there is no such process here")
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        """Reject a threshold on a figure that never exists; Locust's rows are known at the end."""
        rows = tuple(f"{kind.__name__} " for kind in self._chosen())
        given = given_in(self._options).get("scenario", "")
        scenarios = [kind.scenario or given for kind in self._chosen()]
        for threshold in thresholds_of(self._options):
            complaints = [against_figure(threshold.figure, it) for it in scenarios if it]
            is_of_a_row = self._has_others() or threshold.figure.startswith(rows)
            if complaints and all(complaints) and not is_of_a_row:
                raise UsageError(f"--swarm-flags: --threshold: {complaints[0]}")

    def _on_test_start(self, **_: object) -> None:
        self._show_as_running()
        self.conductors, self.finished, self.problem = {}, [], ""
        self._statuses, self._failed = [], []
        self._environment.process_exit_code = None
        self._is_running = True
        try:
            self._check_flags()
            given = given_in(self._options)
            for kind in self._chosen():
                plan = self._plan(kind, seed_of(given))
                self.conductors[kind.__name__] = self._conductor(kind.__name__, plan)
        except RecordCutError as error:
            # The disk is full; nobody has requested anything impossible.
            self._refuse(str(error), ExitStatus.INVALID)
            return
        except (LoadTestError, RecordError, ValueError) as error:
            self._refuse(str(error), ExitStatus.USAGE)
            return
        seen = self._seen()
        for conductor in self.conductors.values():
            conductor.start([worker for worker in self.workers if worker.client_id in seen])

    def _show_as_running(self) -> None:
        """Notify Locust's page of the test at once, or it goes back to its form for good.

        Locust does so only when all listeners have returned, and caches an answer for two seconds,
        longer if it was slow.
        """
        self._runner.update_state(STATE_SPAWNING)
        if (web_ui := self._environment.web_ui) is not None:
            app: Any = web_ui.app
            app.view_functions["locust.request_stats"].clear_cache()

    def _conductor(self, name: str, plan: Plan) -> Conductor:
        return Conductor(
            name,
            plan,
            self._record_path(plan),
            partial(self._command, name),
            pids=self._server_pids(plan),
            observe=partial(self._observe, name),
            replay=self._replay(name, plan),
            is_running=lambda: self._runner.state == STATE_RUNNING,
            users=partial(self._users, name),
            spawn_rate=self._spawn_rate,
            give_up=self._give_up,
        )

    def _record_path(self, plan: Plan) -> Path:
        given = self._options.swarm_record
        if given.endswith(RECORD_SUFFIX):
            return Path(given)
        return default_record_path(plan, Path(given)) if given else default_record_path(plan)

    def _server_pids(self, plan: Plan) -> Sequence[int]:
        if pids := source_of(given_in(self._options)).pids:
            return pids
        host = split_url(plan.url).hostname or ""
        is_here = host in ("localhost", "::1") or host.startswith("127.")
        return probe.listener_roots(port_of(plan.url)) if is_here else ()

    def _replay(self, name: str, plan: Plan) -> tuple[str, ...]:
        """Return the command that runs the same test without the web UI."""
        options = self._options
        host = self._environment.host or next(it.host for it in self._classes_named(name))
        words = ["locust", "--headless", "--host", masked_url(host or "")]
        words += ["--users", str(self._runner.target_user_count)]
        words += ["--spawn-rate", f"{options.spawn_rate or 1:g}"]
        if options.run_time:
            words += ["--run-time", f"{options.run_time}s"]
        kind = next(self._classes_named(name))
        thresholds = given_in(options).get("threshold", ())
        flags = flags_text(plan, thresholds, with_scenario=not kind.scenario)
        words.append(f"--swarm-flags={flags}")
        if options.swarm_clock != "auto":
            words += ["--swarm-clock", options.swarm_clock]
        files = self._environment.parsed_locustfiles or ["locustfile.py"]
        return (*words, "-f", ",".join(files), name)

    def _classes_named(self, name: str) -> Iterator[type[SwarmUser]]:
        return (kind for kind in self._classes if kind.__name__ == name)

    def _users(self, name: str) -> int:
        """Return how many users of a class Locust was asked for."""
        if len(self._environment.user_classes) == 1:
            return self._runner.target_user_count
        # Known when all are spawned, 0 until then.
        return self._runner.target_user_classes_count.get(name, 0)

    def _spawn_rate(self) -> float | None:
        """Return the users a second last requested of Locust, None if a load shape decides."""
        if self._environment.shape_class is not None:
            return None
        return float(self._options.spawn_rate or 1)

    def _refuse(self, problem: str, status: ExitStatus) -> None:
        """Report why a test cannot run, and end it."""
        logger.error(problem)
        self.problem = problem
        self._runner.log_exception("swarmgate", problem, problem)
        self._environment.process_exit_code = status
        for conductor in self.conductors.values():
            conductor.abandon()
        self.conductors = {}
        self._give_up()

    def _give_up(self) -> None:
        """End the test, and Locust if there is no web UI to start another."""
        end = self._runner.quit if self._options.headless else self._runner.stop
        gevent.spawn_later(_GIVE_UP_SECONDS, end)

    def _command(self, name: str, client_id: str, command: Mapping[str, Any]) -> None:
        data = {"class": name, "command": dict(command)}
        self._runner.send_message(COMMAND, data, client_id)

    def _observe(self, name: str, line: Line) -> None:
        """Enter a line of a record into Locust's own statistics, and notify all listeners."""
        if isinstance(line, Interval):
            conductor = self.conductors[name]
            for row in rows(name, line, conductor.measures):
                enter(self._environment.stats, row)
                self._listeners.notify(name, conductor.url, line, row)
        for observe in self.observers:
            observe(name, line)

    def _on_report(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        client_id, data = msg.node_id, msg.data
        if data["what"] == "hello":
            self._greet(client_id, data["detail"])
        elif data["what"] == "pong":
            self._on_pong(client_id, data["detail"])
        elif (conductor := self.conductors.get(data["class"])) is not None:
            conductor.receive(client_id, data["what"], data["detail"])

    def _greet(self, client_id: str, detail: Mapping[str, Any]) -> None:
        shares = detail["boot_id"] == self._boot_id and self._options.swarm_clock == "auto"
        worker = self._workers[client_id] = Worker(client_id, detail["host"], shares)
        if shares:
            self._let_join(worker)
        else:
            # It joins when its clock is known.
            self._ping(worker)

    def _ping(self, worker: Worker) -> None:
        self._command("", worker.client_id, {"do": "ping", "asked_ns": perf_counter_ns()})

    def _on_pong(self, client_id: str, detail: Mapping[str, Any]) -> None:
        worker = self._workers.get(client_id)
        if worker is None:
            return
        reading = Reading(detail["asked_ns"], detail["there_ns"], perf_counter_ns())
        worker.estimate.add(reading)
        if worker.estimate.count < _FIRST_READINGS:
            self._ping(worker)
        elif worker.estimate.count == _FIRST_READINGS:
            self._let_join(worker)
        if _FIRST_READINGS <= worker.estimate.count < _SOON_READINGS:
            gevent.spawn_later(_SOON_SECONDS, self._ping, worker)

    def _let_join(self, worker: Worker) -> None:
        if self._is_running:
            for conductor in self.conductors.values():
                conductor.join(worker)

    def _watch(self) -> None:
        """Detect workers that are gone or new to us, and keep clock offsets fresh."""
        strangers: set[str] = set()
        while True:
            gevent.sleep(_WATCH_SECONDS)
            seen = self._seen()
            for worker in self.workers:
                worker.unseen = 0 if worker.client_id in seen else worker.unseen + 1
                if worker.unseen > _UNSEEN_LOOKS and self._is_running:
                    self._lose(worker)
                elif not worker.unseen:
                    self._keep(worker)
            # Locust has them back, and we do not; one that has just joined greets by itself.
            for client_id in strangers & seen - set(self._workers):
                self._command("", client_id, {"do": "greet"})
            strangers = seen - set(self._workers)

    def _seen(self) -> set[str]:
        """Return the workers Locust sees now; a stopped one is unseen until it is ready again."""
        if not isinstance(self._runner, MasterRunner):
            return set(self._workers)
        return {it.id for it in self._runner.clients.all if it.state != STATE_MISSING}

    def _keep(self, worker: Worker) -> None:
        """Keep a worker's clock offset fresh; add it to tests that began while it was unseen."""
        if not worker.shares_clock:
            self._ping(worker)
        for conductor in self.conductors.values():
            if self._is_running and not conductor.knows(worker):
                conductor.join(worker)

    def _lose(self, worker: Worker) -> None:
        del self._workers[worker.client_id]
        for conductor in self.conductors.values():
            conductor.lose_worker(worker.client_id, "Locust no longer receives anything from it")

    def _on_test_stopping(self, **_: object) -> None:
        self._finish(interrupted=False)

    def _on_quitting(self, **_: object) -> None:
        """Treat a quit in the middle of a test as an interruption by a person or a signal."""
        is_running = self._runner.state in (STATE_RUNNING, STATE_SPAWNING)
        self._finish(interrupted=self._is_running and is_running)
        if self._statuses:
            # By now the last statistics of other users have arrived from the workers.
            self._judge()
        if self._options.csv_prefix:
            # Locust writes its files at this interval, and not once more at the end.
            gevent.sleep(locust.stats.CSV_STATS_INTERVAL_SEC + _AFTERWARDS_SECONDS)

    def _finish(self, *, interrupted: bool) -> None:
        if not self._is_running or self._is_ending:
            return
        self._is_ending = True
        try:
            self._end(interrupted=interrupted)
        finally:
            # Until now a worker that is gone is still noticed, and not waited for.
            self._is_running = self._is_ending = False

    def _end(self, *, interrupted: bool) -> None:
        if self.problem:
            return
        ending = {
            name: gevent.spawn(conductor.finish, interrupted=interrupted)
            for name, conductor in self.conductors.items()
        }
        for name, conductor in self.conductors.items():
            summary = ending[name].get()
            # Thresholds on Locust's rows are judged by what Locust counted.
            own = [it for it in thresholds_of(self._options) if not self._is_of_locust(it)]
            self.finished.append(Finished(name, summary, conductor.path, own))
        self._listeners.flush()
        self._statuses = [finished.status for finished in self.finished]
        self._statuses.append(ExitStatus.INTERRUPTED if interrupted else ExitStatus.HELD)
        self._judge()

    def _judge(self) -> None:
        """Give Locust the exit status, unless something has given it a worse one."""
        status = worst([*self._statuses, self._status_of_locust()])
        if not self._environment.process_exit_code:
            self._environment.process_exit_code = status

    def _status_of_locust(self) -> ExitStatus:
        """Judge what Locust itself counted: thresholds on its rows, and users that are not ours."""
        figures = stats_figures(self._environment.stats)
        thresholds = thresholds_of(self._options)
        judged = [it for it in thresholds if self._is_of_locust(it) or not self.conductors]
        self._failed = list(failures(judged, figures))
        if self._failed or (self._has_others() and self._runner.exceptions):
            return ExitStatus.FAILED
        if not self._has_others():
            return ExitStatus.HELD
        if not self._environment.stats.total.num_requests:
            return ExitStatus.INVALID
        return ExitStatus.FAILED if figures["errors"] else ExitStatus.HELD

    def _has_others(self) -> bool:
        return any(kind not in self._classes for kind in self._environment.user_classes)

    def _is_of_locust(self, threshold: Threshold) -> bool:
        rows = (name for name, _ in self._environment.stats.entries)
        return any(threshold.figure.startswith(f"{name}.") for name in rows)

    def _on_quit(self, **_: object) -> None:
        """Print what was measured, after everything that Locust prints."""
        if self._options.headless:
            # If Locust's statistics are requested as JSON, standard output is theirs alone.
            output = sys.stderr if self._options.json else sys.stdout
            output.write("".join(f"\n{finished.text()}" for finished in self.finished))
            output.write("".join(f"{line}\n" for line in threshold_lines(self._failed)))
            if self.finished or self._failed:
                output.write(f"{self._outcome().line}\n")
            output.flush()

    def _outcome(self) -> Outcome:
        """Return how the test ended, and why: what was recorded, then what Locust counted."""
        status = ExitStatus(self._environment.process_exit_code or ExitStatus.HELD)
        several = len(self.finished) > 1
        problems = [
            f"{it.user}: {problem}" if several else problem
            for it in self.finished
            for problem in it.problems
        ]
        problems += [f"{threshold}, found {found}" for threshold, found in self._failed]
        if not problems and status is not ExitStatus.HELD:
            problems = ["Locust counted failures, or exceptions of users"]
        return Outcome(status, tuple(problems))
