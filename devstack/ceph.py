"""Ceph's RADOS Gateway, a real S3 server, from Debian's packages.

One monitor, one object storage daemon (OSD) and the gateway run on loopback,
without systemd. Unlike moto it verifies signatures, the expiry of presigned
URLs, checksums and lengths, and executes lifecycle rules.
"""

import contextlib
import http
import http.client
import os
import secrets
import shutil
import subprocess
import uuid
from typing import Literal

from devstack.certificates import issue
from devstack.s3 import Store
from devstack.sandbox import Process, Sandbox, ServerFailed, base_environment, free_port

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "monmaptool", "ceph")
START_TIMEOUT_S = 90.0
COMMAND_TIMEOUT_S = 60.0

CONFIGURATION = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/log/$name.log
crash dir = {folder}/log
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
osd journal = {folder}/osd/journal
osd objectstore = {objects}
memstore device bytes = 8589934592
bluestore block size = 21474836480
osd memory target = 939524096
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd max object name len = 1024
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
mon data avail crit = 1
mon cluster log file = {folder}/log/cluster.log
debug ms = 0
paxos propose interval = 0.02
paxos min wait = 0.01
auth allow insecure global id reclaim = false
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
[client.rgw]
rgw data = {folder}/run
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} ssl_certificate={certificate}
rgw dns name = localhost
rgw lc max worker = 1
rgw thread pool size = 32
rgw rados pool pg num min = 4
rgw enable usage log = false
rgw lifecycle work time = 00:00-23:59
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
"""  # noqa: E501 - the file's lines are Ceph's


def available() -> bool:
    """Return whether Debian's packages radosgw, ceph-mon and ceph-osd are installed."""
    path = search_path()
    return all(shutil.which(program, path=path) for program in PROGRAMS)


def search_path() -> str:
    """Return PATH with the folders of servers, which an ordinary user's PATH may lack.

    Only those beside a folder that it has: what a shorter PATH hides stays hidden.
    """
    folders = os.environ.get("PATH", "").split(os.pathsep)
    beside = {"/usr/bin": "/usr/sbin", "/bin": "/sbin"}
    return os.pathsep.join([*folders, *(beside[each] for each in folders if each in beside)])


class CephServer:
    """A single-node Ceph cluster with its S3 gateway.

    ``objects`` is ``memstore`` (in memory, the fastest to start) or
    ``bluestore`` (on disk). ``lc_day_s`` is the length of a day of the
    lifecycle rules, in seconds. Clients of ``tls_endpoint_url`` must trust
    ``certificate.authority``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        name: str = "ceph",
        objects: Literal["memstore", "bluestore"] = "memstore",
        lc_day_s: int | None = None,
    ) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.access_key = secrets.token_hex(10)
        self.secret_key = secrets.token_hex(20)
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        for part in ("mon", "osd", "run", "log", "tls"):
            (self._folder / part).mkdir()
        self.certificate = issue(self._folder / "tls")
        self._configuration = self._folder / "ceph.conf"
        self._fsid, self._osd = str(uuid.uuid4()), str(uuid.uuid4())
        self._mon_v2, self._mon_v1 = free_port(), free_port()
        self._configuration.write_text(self._configuration_text(objects, lc_day_s))
        self._processes: list[Process] = []
        self._is_created = False

    @property
    def endpoint_url(self) -> str:
        """The gateway's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_endpoint_url(self) -> str:
        """The gateway's URL over TLS."""
        return f"https://localhost:{self.tls_port}"

    def start(self) -> None:
        """Start the daemons and wait until the gateway answers.

        The first start creates the cluster and its user. A restart after
        ``stop`` or ``kill`` finds the objects of bluestore. memstore loses its
        objects but not the cluster's metadata: create a new server instead.

        Raises:
            ServerFailed: a daemon exited or is not ready in time.
        """
        if not self._is_created:
            self._make_monitor()
        self._spawn("ceph-mon", "-i", "a").wait_until(self._monitor_answers, START_TIMEOUT_S)
        if not self._is_created:
            self._make_object_store()
        self._spawn("ceph-osd", "-i", "0").wait_until(self._object_store_is_up, START_TIMEOUT_S)
        self._spawn("radosgw", "-n", "client.rgw").wait_until(self._answers, START_TIMEOUT_S)
        if not self._is_created:
            self._make_user()
        self._is_created = True

    def stop(self) -> None:
        """Stop the daemons, the gateway first, by SIGKILL: it has no state to save."""
        gateway, *others = reversed(self._processes)
        gateway.kill()
        for process in others:
            process.stop()
        self._processes.clear()

    def kill(self) -> None:
        """Simulate a crash: SIGKILL to all daemons."""
        while self._processes:
            self._processes.pop().kill()

    def store(self, bucket: str | None = None) -> Store:
        """Create a bucket, by default with a new name, and return it."""
        name = bucket or f"bucket-{secrets.token_hex(8)}"
        return Store("ceph", self.endpoint_url, name, self.access_key, self.secret_key).create()

    def _configuration_text(self, objects: str, lc_day_s: int | None) -> str:
        text = CONFIGURATION.format(
            fsid=self._fsid,
            folder=self._folder,
            objects=objects,
            port=self.port,
            tls_port=self.tls_port,
            mon_v1=self._mon_v1,
            mon_v2=self._mon_v2,
            certificate=self.certificate.server,
        )
        return text if lc_day_s is None else f"{text}rgw lc debug interval = {lc_day_s}\n"

    def _make_monitor(self) -> None:
        monitors = str(self._folder / "monmap")
        addresses = f"[v2:127.0.0.1:{self._mon_v2},v1:127.0.0.1:{self._mon_v1}]"
        self._run(
            "monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", addresses, monitors
        )
        self._run("ceph-mon", *self._option, "--mkfs", "-i", "a", "--monmap", monitors)

    def _make_object_store(self) -> None:
        self._run("ceph", *self._option, "osd", "new", self._osd, "0")
        self._run("ceph-osd", *self._option, "-i", "0", "--mkfs", "--osd-uuid", self._osd)

    def _make_user(self) -> None:
        user = ("user", "create", "--uid=test", "--display-name=test", "--max-buckets=0")
        keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
        self._run("radosgw-admin", *self._option, *user, *keys)

    @property
    def _option(self) -> tuple[str, str]:
        return ("-c", str(self._configuration))

    @property
    def _environment(self) -> dict[str, str]:
        own = {"PATH": search_path(), "CEPH_CONF": str(self._configuration), "CEPH_ARGS": ""}
        return base_environment() | own

    def _spawn(self, program: str, *arguments: str) -> Process:
        process = self._sandbox.spawn(
            f"{self._name}-{program}",
            [program, *self._option, "-f", *arguments],
            environment=self._environment,
            folder=self._folder,
        )
        self._processes.append(process)
        return process

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            check=False,
            text=True,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{program}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def _monitor_answers(self) -> bool:
        return self._command_output("mon", "stat") is not None

    def _object_store_is_up(self) -> bool:
        return "1 up" in (self._command_output("osd", "stat") or "")

    def _command_output(self, *command: str) -> str | None:
        with contextlib.suppress(ServerFailed):
            return self._run("ceph", *self._option, "--connect-timeout", "3", *command)
        return None

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection,
        ):
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False
