"""What the manifest promises: schemas, Locust's own parser and two processes, but no cluster."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from subprocess import run

import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions, resources_from_file

from loadtests.run import fleet
from loadtests.run.run import DEFAULT_FOLDER

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "deploy/kubernetes/swarmgate.yaml"
DOCKERFILE = (ROOT / "Dockerfile.locust").read_text()
IGNORED = (ROOT / "Dockerfile.locust.dockerignore").read_text()
DOCUMENTS = {
    f"{document['kind']} {document['metadata']['name']}": document
    for document in resources_from_file(str(MANIFEST))
}
SERVICE = DOCUMENTS["Service swarmgate-master"]
MASTER = DOCUMENTS["Deployment swarmgate-master"]
WORKER = DOCUMENTS["Deployment swarmgate-worker"]
DEADLINE_SECONDS = 120.0
# "Safe and unsafe sysctls" in the documentation of Kubernetes, as of 1.29.
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
# Importing Locust changes the socket module of the whole process, so it is asked in one of its own.
ASK_LOCUST = """
import json, sys
from locust.argument_parser import default_args_dict, get_parser
commands = json.load(sys.stdin)
parsed = {name: vars(get_parser().parse_args(words)) for name, words in commands.items()}
print(json.dumps({"default": default_args_dict(), **parsed}, default=str))
"""
LOCUSTFILE = """
from locust import User, task

class Idle(User):
    @task
    def nothing(self):
        self.environment.runner.quit()
"""

deployments = pytest.mark.parametrize(
    "deployment", [MASTER, WORKER], ids=lambda deployment: deployment["metadata"]["name"]
)


def pod(deployment):
    """Return what a deployment says of its pods."""
    return deployment["spec"]["template"]["spec"]


def container(deployment):
    """Return the only container of a deployment's pods."""
    [only] = pod(deployment)["containers"]
    return only


def instruction(name):
    """Return what the Dockerfile says last of ``name``."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1]


def command(deployment):
    """Return the whole command of a container, as the engine puts it together."""
    assert "command" not in container(deployment)
    return [*json.loads(instruction("ENTRYPOINT")), *container(deployment)["args"]]


def environment():
    """Return this process's environment without what Locust would take for options."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Return Locust's own reading of each command, and its defaults."""
    answer = run(
        [sys.executable, "-c", ASK_LOCUST],
        input=json.dumps({"master": command(MASTER)[1:], "worker": command(WORKER)[1:]}),
        capture_output=True,
        check=False,
        text=True,
        # Where no locust.conf is.
        cwd=tmp_path_factory.mktemp("locust"),
        env=environment(),
        timeout=DEADLINE_SECONDS,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize("version", sorted(set(all_versions())))
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_document_holds_to_the_schema_and_has_no_field_beyond_it(document, version):
    assert kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_is_misspelt_would_be_refused():
    document = json.loads(json.dumps(WORKER))
    pod(document)["securityContext"]["sysctl"] = pod(document)["securityContext"].pop("sysctls")
    with pytest.raises(kubernetes_validate.ValidationError, match="sysctl"):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@deployments
def test_a_deployment_selects_its_own_pods_and_not_the_other_ones(deployment):
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    [other] = [one for one in (MASTER, WORKER) if one is not deployment]
    assert not labels.items() <= other["spec"]["template"]["metadata"]["labels"].items()


def test_the_service_leads_to_the_master_alone():
    selector = SERVICE["spec"]["selector"].items()
    assert selector <= MASTER["spec"]["template"]["metadata"]["labels"].items()
    assert not selector <= WORKER["spec"]["template"]["metadata"]["labels"].items()
    assert MASTER["spec"]["replicas"] == 1


def test_the_service_and_the_master_have_the_ports_that_locust_listens_on(options):
    listens = {
        "web": options["master"]["web_port"],
        "workers": options["master"]["master_bind_port"],
    }
    opened = {port["name"]: port["containerPort"] for port in container(MASTER)["ports"]}
    assert opened == listens
    served = {port["name"]: port for port in SERVICE["spec"]["ports"]}
    assert {name: opened[port["targetPort"]] for name, port in served.items()} == listens
    # Workers have it beside the master's name, and people in docs/deploy.md.
    assert served["workers"]["port"] == options["worker"]["master_port"]
    assert served["web"]["port"] == options["default"]["web_port"]
    assert {int(port) for port in instruction("EXPOSE").split()} == set(listens.values())


def test_locust_reads_the_commands_as_one_master_and_its_workers(options):
    master, worker = options["master"], options["worker"]
    assert (master["master"], master["worker"]) == (True, False)
    assert (worker["master"], worker["worker"]) == (False, True)
    assert worker["master_host"] == SERVICE["metadata"]["name"]
    assert master["class_picker"]
    # Without a path, so that each class appends its own.
    assert re.fullmatch(r"wss?://[^/]+", master["host"])
    assert not master["user_classes"] + worker["user_classes"]


def test_the_master_is_ready_when_its_web_page_answers():
    probe = container(MASTER)["readinessProbe"]["httpGet"]
    assert probe == {"path": "/", "port": "web"}
    # A busy master is not to be killed with its run.
    assert "livenessProbe" not in container(MASTER)


def copied():
    """Return the paths of this project that the image has, and where."""
    copies = re.findall(r"^COPY (?!--from)(\S+) (\S+)$", DOCKERFILE, re.MULTILINE)
    *_, stage = DOCKERFILE.split("\nFROM ")
    return {
        source: PurePosixPath(instruction("WORKDIR"), target)
        for source, target in copies
        if f"COPY {source} " in stage
    }


def test_the_image_holds_what_measures_and_nothing_of_the_server():
    assert copied() == {
        "loadtests": PurePosixPath("/app/loadtests"),
        "reports": PurePosixPath("/app/reports"),
        "swarmgate": PurePosixPath("/app/swarmgate"),
    }
    sent = {line[1:] for line in IGNORED.splitlines() if line.startswith("!")}
    assert sent == {*copied(), "requirements-locust.txt"}
    assert IGNORED.startswith("*\n")


@deployments
def test_every_path_that_is_named_is_in_the_image_or_mounted(deployment, options):
    role = deployment["metadata"]["name"].removeprefix("swarmgate-")
    locustfile = PurePosixPath(options[role]["locustfile"])
    assert locustfile.is_relative_to(copied()["loadtests"])
    mounts = {one["name"]: one["mountPath"] for one in container(deployment)["volumeMounts"]}
    records = copied()["reports"].parent / DEFAULT_FOLDER
    assert mounts == {"tmp": "/tmp", "runs": str(records)}  # noqa: S108 - the pod's own
    assert f"install -d -o locust {DEFAULT_FOLDER}" in DOCKERFILE
    volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
    assert volumes.keys() == mounts.keys()
    assert all("emptyDir" in volume for volume in volumes.values())


@deployments
def test_a_pod_runs_as_the_images_user_and_may_change_nothing_but_its_volumes(deployment):
    user = int(instruction("USER"))
    assert user > 0
    assert f"--uid {user}" in DOCKERFILE
    whole = pod(deployment)["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"], whole["fsGroup"]) == (True, user, user)
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(deployment)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(deployment)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(deployment).keys()


@deployments
def test_no_service_of_the_namespace_is_taken_for_an_option(deployment):
    assert pod(deployment)["enableServiceLinks"] is False


@deployments
def test_the_image_is_named_after_this_version(deployment):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert container(deployment)["image"] == f"swarmgate-locust:{project['version']}"


def test_the_packages_are_checked_by_hash_and_locked_in_the_versions_that_are_tested():
    assert re.findall(r"pip install (.*)", DOCKERFILE) == [
        "--no-cache-dir --require-hashes -r requirements-locust.txt"
    ]
    locked = versions("requirements-locust.txt")
    assert "locust" in {name for name, _ in locked}
    assert locked < versions("constraints.txt")


def versions(lock):
    """Return the packages of a lock file, each with its version."""
    return set(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_sysctl_of_the_workers_is_a_safe_one_and_widens_the_ports():
    given = {one["name"]: one["value"] for one in pod(WORKER)["securityContext"]["sysctls"]}
    assert given.keys() <= SAFE_SYSCTLS
    low, high = (int(word) for word in given["net.ipv4.ip_local_port_range"].split())
    # What the kernel has by default is 32768 to 60999. It asks for ends of which one is even.
    assert 1024 <= low < 32768
    assert 60999 < high <= 65535
    assert low % 2 != high % 2


def test_workers_are_spread_over_the_nodes():
    [spread] = pod(WORKER)["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["labelSelector"] == WORKER["spec"]["selector"]


def test_a_worker_is_given_longer_to_stop_than_its_swarm_may_take_to_close():
    assert pod(WORKER)["terminationGracePeriodSeconds"] >= 2 * fleet._PATIENCE.close_seconds


@deployments
def test_what_a_pod_may_use_is_bounded_and_its_memory_is_its_own(deployment):
    resources = container(deployment)["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_the_documentation_names_the_image_the_files_the_target_and_the_page_as_they_are(options):
    docs = (ROOT / "docs/deploy.md").read_text()
    named = set(re.findall(r"(deploy/kubernetes/\S+?\.yaml|Dockerfile\.locust)\b", docs))
    assert named == {str(MANIFEST.relative_to(ROOT)), "Dockerfile.locust"}
    assert f"-f Dockerfile.locust -t {container(MASTER)['image']} ." in docs
    # What sed is to put another address in place of.
    assert f"s|{options['master']['host']}|" in docs
    assert (
        f"port-forward service/{SERVICE['metadata']['name']} {options['master']['web_port']}"
        in docs
    )
    named = {WORKER["metadata"]["name"], MASTER["metadata"]["name"]}
    assert set(re.findall(r"deployment/([\w-]+)", docs)) == named


def free_ports(count):
    """Return ports of loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [str(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def get(url):
    """Return the status and the text of a page; status 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:  # noqa: S310 - an address of ours
            return answer.status, answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


async def start(deployment, folder, *more):
    """Start a container's own command here, with a locustfile of no load; ``more`` overrides."""
    _, *words = command(deployment)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", *words, "--locustfile", folder / "locustfile.py", *more),
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def test_the_two_commands_meet_the_probe_is_answered_and_sigterm_ends_both(tmp_path):
    (tmp_path / "locustfile.py").write_text(LOCUSTFILE)
    web, workers = free_ports(2)
    own = ("--web-host", "127.0.0.1", "--web-port", web)
    master = await start(
        *(MASTER, tmp_path, *own, "--master-bind-host", "127.0.0.1", "--master-bind-port", workers)
    )
    worker = await start(WORKER, tmp_path, "--master-host", "127.0.0.1", "--master-port", workers)
    page = f"http://127.0.0.1:{web}"
    probed = container(MASTER)["readinessProbe"]["httpGet"]["path"]
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "1" not in (await asyncio.to_thread(get, f"{page}/worker-count"))[1]:
                assert master.returncode is worker.returncode is None
                await asyncio.sleep(0.1)
            status, _ = await asyncio.to_thread(get, page + probed)
            assert status == 200
            for process in (worker, master):
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
    finally:
        for process in (worker, master):
            if process.returncode is None:
                process.kill()
                await process.wait()
