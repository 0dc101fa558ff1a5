"""Scenarios from a user's file: a script is run on every connection, a class is used as it is."""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar, Final, get_type_hints

from loadtests.clients.backoff import Backoff, BackoffKind
from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import read_feed, row_of
from loadtests.plan.plan import ProcessPlan
from loadtests.plan.user_file import load_module
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.scenario import Published, Scenario
from loadtests.scenarios.script import ConnectionEndedError, Script
from reports.figure import Better, measured_alike
from reports.measures import Measures

_FUNCTION: Final = "script"
_READY: Final = "ready"
_DECLARED: Final = "measures"
_AFTER_FAILURE: Final = Backoff(BackoffKind.EXPONENTIAL, 0.005, 1.0, jitter=True)

_MEASURES: Final = Measures(
    main=("iteration",),
    durations=measured_alike(
        "Timed by CLOCK_MONOTONIC around each call of the script; with a rate, from when it was to "
        "begin.",
        (("iteration", "iteration", Better.LOWER, "One iteration of a script."),),
    ),
)

ScriptFunction = Callable[[Script, Any], Awaitable[None]]


class Scripted(Scenario[Parameters]):
    """A scenario that runs one script on every connection.

    Without a rate, each connection restarts it as soon as it ends; with a rate, starts follow an
    open model over all connections in turn, and ``iteration`` is timed from the intended start: a
    connection that is not done yet starts late, and this shows.
    """

    function: ClassVar[ScriptFunction]
    is_spread = True
    joins = True
    measures = _MEASURES

    def __init__(self, share: ProcessPlan, parameters: Parameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        plan = share.plan
        self._iteration = recorder.durations("iteration").append
        self._rows = read_feed(Path(plan.feed)) if plan.feed else ()
        self._scripts: dict[Connection, Script] = {}
        self._running = False
        self._random = random.Random(plan.seed + share.process)
        self._tasks: dict[Script, asyncio.Task[None]] = {}
        self._queues: dict[Script, asyncio.Queue[int]] = {}
        self._order: list[Script] = []

    def opened(self, connection: Connection) -> None:
        """Create the object that the script gets."""
        row = row_of(self._rows, connection.number, self.plan.feed_policy) or {}
        script = self._scripts[connection] = Script(
            connection, self.recorder, row, self.share.clock_ns
        )
        if self._running and self.plan.live:
            self._begin(script)

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Keep a message for the script."""
        self._scripts[connection].take(payload, now_ns)

    def closed(self, connection: Connection) -> None:
        """Notify the script."""
        script = self._scripts[connection]
        script.end()
        if self.plan.live:
            script.account()
            del self._scripts[connection]
            self._tasks.pop(script, None)
            if self._queues.pop(script, None) is not None:
                self._order.remove(script)

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """End the script on these connections, wherever it is."""
        for connection in connections:
            script = self._scripts.get(connection)
            if script is not None and (task := self._tasks.get(script)) is not None:
                task.cancel()

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Run the script on every connection until the time is over."""
        await load.begun()
        here = pool.open_connections()
        self._running = True
        for connection in here:
            self._begin(self._scripts[connection])
        if self.plan.rate is None:
            await load.over()
        elif self._order or self.plan.live:
            await self._pace(load)
        self._running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {}

    def account(self, published: Published) -> None:  # noqa: ARG002 - a script's streams are not ours
        """Close the ledgers that scripts have kept."""
        for script in self._scripts.values():
            script.account()

    def _begin(self, script: Script) -> None:
        """Start the script on one connection, to run repeatedly or whenever it is due."""
        if self.plan.rate is None:
            running = self._repeat(script)
        else:
            queue = self._queues[script] = asyncio.Queue()
            self._order.append(script)
            running = self._serve(script, queue)
        self._tasks[script] = asyncio.create_task(running)

    async def _repeat(self, script: Script) -> None:
        failures = 0
        while script.is_open:
            failures = 0 if await self._once(script, perf_counter_ns()) else failures + 1
            # A script that never waits must not keep the others from running, and one that fails
            # at once must not fill the run with its errors.
            draw = self._random.random()
            await asyncio.sleep(_AFTER_FAILURE.seconds(failures, draw) if failures else 0)

    async def _pace(self, load: LoadWindow) -> None:
        lateness = self.recorder.durations("lateness").append
        turn = -1

        def fire(intended_ns: int) -> None:
            nonlocal turn
            if not self._order:
                # In a live load, there may be no connections yet, or none any more.
                return
            lateness(perf_counter_ns() - intended_ns)
            turn = (turn + 1) % len(self._order)
            self._queues[self._order[turn]].put_nowait(intended_ns)

        await self.pace(load, fire, 1 / self.plan.processes)

    async def _serve(self, script: Script, intended: asyncio.Queue[int]) -> None:
        while True:
            await self._once(script, await intended.get())

    async def _once(self, script: Script, intended_ns: int) -> bool:
        """Run the script once; return whether it ended well, because what it raises is counted."""
        try:
            await type(self).function(script, self.parameters)
        except ConnectionEndedError as error:
            if script.is_open:
                self.recorder.fault(error)
            else:
                self.recorder.errors["script:connection ended"] += 1
        except Exception as error:  # noqa: BLE001 - a user's script may raise anything
            self.recorder.fault(error)
        else:
            self._iteration(perf_counter_ns() - intended_ns)
            return True
        return False


def load_script(path: Path) -> type[Scenario[Any]]:
    """Return the scenario in a Python file: its subclass of Scenario, or its ``async def script``.

    Raises:
        UsageError: there is no such file, importing it fails, or it has no scenario.
    """
    module = load_module(path)
    own = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, Scenario)
        and kind.__module__ == module.__name__
    ]
    if own:
        return own[-1]
    function = getattr(module, _FUNCTION, None)
    if not inspect.iscoroutinefunction(function):
        raise UsageError(
            f"{path} has no scenario; write `async def script(connection)` in it, or a class "
            "derived from Scenario"
        )
    return _scripted(
        path,
        function,
        steps=_steps(path, getattr(module, _READY, ())),
        measures=_declared(path, getattr(module, _DECLARED, Measures())),
    )


def _scripted(
    path: Path,
    function: Callable[..., Awaitable[None]],
    *,
    steps: tuple[str, ...],
    measures: Measures,
) -> type[Scripted]:
    names = list(inspect.signature(function).parameters)
    if len(names) not in (1, 2):
        raise UsageError(
            f"{path}: script takes {', '.join(names) or 'nothing'}; it must take the connection "
            "and, if it has any, the parameters"
        )

    async def call(script: Script, parameters: Parameters) -> None:
        await (function(script, parameters) if len(names) > 1 else function(script))

    kind = get_type_hints(function).get(names[1], Parameters) if len(names) > 1 else Parameters
    if not (inspect.isclass(kind) and issubclass(kind, Parameters)):
        raise UsageError(f"{path}: the parameters of script must be of a subclass of Parameters")
    return type(
        path.stem,
        (Scripted,),
        {
            "function": staticmethod(call),
            "parameters_type": kind,
            "ready": steps,
            "measures": measures,
            "__doc__": function.__doc__,
        },
    )


def _declared(path: Path, given: object) -> Measures:
    """Return what a script itself measures, in addition to its iterations."""
    if not isinstance(given, Measures):
        raise UsageError(f"{path}: measures is {given!r}; it must be Measures(…)")
    main = given.main or _MEASURES.main
    return replace(given, main=main, durations=(*_MEASURES.durations, *given.durations))


def _steps(path: Path, given: object) -> tuple[str, ...]:
    """Return a script's own steps, written as for ``--ready``."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UsageError(f"{path}: ready is {given!r}; it must be a list of 'SEND => EXPECT'")
    return tuple(map(str, given))
