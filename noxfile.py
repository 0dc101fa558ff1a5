"""The entry point: ``nox -l`` lists the sessions, ``nox -s NAME`` runs one of them.

Each session's environment is made from the locked ``constraints.txt``, and remade only when that
file changes, so that a second run starts at once.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

LOCK = Path("constraints.txt")
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
SERVER_LOCK = Path("requirements.txt")
LOCUST_LOCK = Path("requirements-locust.txt")
MATRIX_PYTHONS = ("3.12", "3.13")
LOCUST = Path("loadtests/locust")
LOCUSTFILES = (LOCUST / "locustfile.py", *sorted((LOCUST / "shapes").glob("s*.py")))
PAGES = {
    "docs/options.md": "loadtests.plan.options_page",
    "docs/figures.md": "loadtests.scenarios.figures_page",
}
# What `nox -s bench -- NAME` measures: cost benchmarks, then claims.
BENCHES = {
    "": ((), "claims.toml"),
    "swarm": (
        ("test_swarm_cost.py", "test_client_cost.py", "test_recording_cost.py", "test_growth.py"),
        "",
    ),
    "server": (
        ("test_counted_cost.py", "test_server_cost.py", "test_adoption_cost.py"),
        "claims_redis.toml",
    ),
    "hostile": (("test_hostile_cost.py",), ""),
    "locust": (("test_locust_swarm_cost.py", "test_locust_cost.py"), ""),
    "100k": ((), "claims_100k.toml"),
    "calibrate": ((), ""),
    "matrix": ((), ""),
}


def install(session: nox.Session) -> None:
    """Install every locked dependency, checked by hash, then this project."""
    stamp = Path(session.virtualenv.location) / "installed.sha256"
    wanted = hashlib.sha256(LOCK.read_bytes() + Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # uv does not compile by default: the first import would, or every one where nothing can be
    # written.
    session.install("--require-hashes", "-r", str(LOCK), env={"UV_COMPILE_BYTECODE": "1"})
    # Without isolation the build uses the locked backend; all dependencies are already there.
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    stamp.write_text(wanted)


def make_other_pythons(session: nox.Session) -> None:
    """Install what a server needs under the other available Pythons, for the matrix."""
    for version in MATRIX_PYTHONS:
        found = [str(it / "bin/python") for it in sorted(PYENV.glob(f"{version}.*"))]
        python = next(iter(found), shutil.which(f"python{version}"))
        if python is None:
            session.log(f"the matrix goes without Python {version}, which is not here")
            continue
        environment = Path(".nox") / f"servers-{version}"
        own = str(environment / "bin/python")
        if not Path(own).exists():
            session.run(python, "-m", "venv", str(environment), external=True)
        words = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        session.run(own, *words, "--require-hashes", "-r", str(SERVER_LOCK), external=True)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@nox.session
def bench(session: nox.Session) -> None:
    """Verdicts on 10,000 connections, 7 minutes. Or: -- 100k, swarm, server, matrix, locust, …."""
    install(session)
    quick = {"SWARMGATE_QUICK": "1"} if "--quick" in session.posargs else {}
    chosen = next((word for word in session.posargs if word in BENCHES), "")
    costs, claims = BENCHES[chosen]
    options = [word for word in session.posargs if word != chosen]
    # The costs come first, so that the verdicts are printed last; neither hides the other.
    costs_held = True
    if costs:
        try:
            session.run(
                *("pytest", *(f"benchmarks/cost/{name}" for name in costs), "-s"),
                # In the order in which they are named; only the tests run in a random one.
                *("--benchmark-columns=min,median,max,rounds", "-p", "no:randomly"),
                env=quick,
            )
        except CommandFailed:
            costs_held = False
    if chosen in ("calibrate", "matrix"):
        if chosen == "matrix":
            make_other_pythons(session)
        session.run("swarmgate", chosen, *options)
        return
    if claims:
        # Inconclusive (4) is an answer: on a shared machine, not everything can always be decided.
        session.run("swarmgate", "claims", f"benchmarks/{claims}", *options, success_codes=[0, 4])
    if not costs_held:
        session.error("a cost benchmark failed; its figures stand above the verdicts")


@nox.session
def gate(session: nox.Session) -> None:
    """Is head worse than base? -- --base REF; paired runs, a stated chance of a false alarm."""
    install(session)
    # Inconclusive (4) is an answer, as with the claims, and reported in its last line.
    session.run("swarmgate", "gate", *session.posargs, success_codes=[0, 4])


@nox.session(name="gate-power")
def gate_power(session: nox.Session) -> None:
    """Measure the gate: false alarms, power. -- series DIR --for 1h; then whole, counts, table."""
    install(session)
    session.run("python", "-P", "-m", "benchmarks.gate_power", *session.posargs)


@nox.session
def locust(session: nox.Session) -> None:
    """Open the Locust web UI on the reference server; -- --host ws://… for your own server."""
    install(session)
    users = ("--users", "1000", "--spawn-rate", "500", "--run-time", "1m", "--processes", "2")
    # Not Locust's usual port, which another Locust may be using.
    port = str(free_port())
    files = ("-f", ",".join(map(str, LOCUSTFILES)), "--class-picker", "--web-host", "127.0.0.1")
    files += ("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port)
    if any(word.startswith(("--host", "-H")) for word in session.posargs):
        session.run("locust", *files, *users, *session.posargs)
        return
    port = str(free_port())
    server = subprocess.Popen([f"{session.bin}/python", "-m", "target_app", "--port", port])
    try:
        host = f"ws://127.0.0.1:{port}"
        session.run("locust", *files, "--host", host, *users, *session.posargs)
    finally:
        server.terminate()
        server.wait()


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests in random order: real sockets, real processes. Arguments go to pytest."""
    install(session)
    _test(session)


@nox.session
def stress(session: nox.Session) -> None:
    """Run the tests three times, next to two processes that take all the CPU they get; an hour."""
    install(session)
    busy = [sys.executable, "-c", "while True: pass"]
    beside = [subprocess.Popen(busy) for _ in range(2)]
    try:
        for _ in range(3):
            _test(session)
    finally:
        for process in beside:
            process.kill()


def _test(session: nox.Session) -> None:
    # Most of them wait for processes, so running several for each CPU finishes sooner.
    at_once = min(3 * len(os.sched_getaffinity(0)), 12)
    session.run(
        # With larger chunks one process would get all of the long ones (tests/conftest.py).
        *("pytest", f"--numprocesses={at_once}", "--maxschedchunk=1", *session.posargs),
        # Otherwise each of the processes that they start would compile the project again.
        env={"PYTHONDONTWRITEBYTECODE": ""},
    )


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the Autobahn test suite (RFC 6455) against each client; it needs CPython 2.7."""
    # With pyenv, the one on the path may be its shim, which only runs a selected version.
    found = [*map(str, PYENV.glob("2.7.*/bin/python2.7")), shutil.which("python2.7")]
    python27 = next(filter(None, found), None)
    if python27 is None:
        session.skip(
            "the Autobahn test suite is written for CPython 2.7, and there is no python2.7"
        )
    install(session)
    suite = Path(session.virtualenv.location) / "autobahn"
    if not suite.exists():
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        wanted = ("--target", str(suite), "-r", "tests/conformance/requirements.txt")
        try:
            session.run(python27, "-m", "pip", "install", *options, *wanted, external=True)
        except CommandFailed:
            shutil.rmtree(suite, ignore_errors=True)
            session.skip("the Autobahn test suite could not be installed for CPython 2.7")
    reports = Path(session.create_tmp()) / "autobahn"
    session.run("python", "-m", "tests.conformance", python27, str(suite), str(reports))


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, the direction of imports, and the workflows."""
    install(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")
    # Strictly, as it would otherwise skip what it cannot read.
    workflows = ("--offline", "--no-progress", "--strict-collection", ".github/workflows")
    session.run("zizmor", *workflows)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all packages, strictly."""
    install(session)
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the pages that are generated from declarations: docs/options.md, docs/figures.md."""
    install(session)
    for page, module in PAGES.items():
        text = session.run("python", "-P", "-m", module, silent=True)
        Path(page).write_text(str(text), encoding="utf-8")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Rewrite constraints.txt and the images' requirements from pyproject.toml; needs uv."""
    groups = ("--group=build", "--group=tests", "--group=lint", "--group=types")
    _compile(
        session,
        LOCK,
        *groups,
        "--extra=locust",
        "--extra=server",
        "pyproject.toml",
        *session.posargs,
    )
    # What each image needs, and nothing else, in the same versions.
    _compile(session, SERVER_LOCK, "--group=pyproject.toml:server", f"--constraints={LOCK}")
    _compile(session, LOCUST_LOCK, "--extra=locust", f"--constraints={LOCK}", "pyproject.toml")


def _compile(session: nox.Session, output: Path, *options: str) -> None:
    session.run(
        *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--python-version=3.11"),
        *("--custom-compile-command=nox -s lock", f"--output-file={output}"),
        *options,
        external=True,
    )
