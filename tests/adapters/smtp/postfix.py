"""Postfix from Debian's package, as an instance apart from the system's."""

import os
import pwd
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from devstack.certificates import Certificate, issue
from devstack.sandbox import Process, Sandbox, SystemUser, free_port, is_listening

START_TIMEOUT_S = 30.0
DAEMONS = Path("/usr/lib/postfix/sbin")
QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "private", "public", "saved", "trace"),
)

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.market.example
mydestination =
mynetworks = 192.0.2.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
virtual_mailbox_domains = market.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ ann@market.example=ann/, lists@market.example=lists/ }}
virtual_uid_maps = static:{nobody.uid}
virtual_gid_maps = static:{nobody.gid}
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname
smtpd_sender_restrictions =
    check_sender_access inline:{{ stranger@elsewhere.example=REJECT }}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_reject_unlisted_sender = yes
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
smtpd_timeout = 1s
message_size_limit = 100000
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
error     unix  - - n - - error
proxymap  unix  - - n - - proxymap
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
virtual   unix  - n n - - virtual
postlog   unix-dgram n - n - 1 postlogd
"""


class PostfixServer:
    """A Postfix that takes mail for ``market.example`` only, and not from everybody.

    It knows the mailboxes ``ann`` and ``lists`` there, requires a full name in
    EHLO, refuses ``stranger@elsewhere.example`` as the sender, relays nothing, offers
    STARTTLS and closes connections that are idle for a second.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.port = free_port()
        self._sandbox = sandbox
        self._folder = sandbox.folder("postfix")
        self._folder.chmod(0o755)
        self.certificate: Certificate = issue(self._folder)
        self._make_folders()
        filled = {"folder": self._folder, "daemons": DAEMONS, "port": self.port}
        names = {"certificate": self.certificate.server, "nobody": _account("nobody")}
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            (self._folder / "etc" / name).write_text(text.format(**filled, **names))

    def start(self) -> Process:
        """Start it and wait until it listens.

        Raises:
            ServerFailed: it exited or does not listen in time.
        """
        master: list[str | Path] = [DAEMONS / "master", "-c", self._folder / "etc", "-d"]
        process = self._sandbox.spawn("postfix", master, folder=self._folder)
        process.wait_until(lambda: is_listening(self.port), START_TIMEOUT_S)
        return process

    def mailbox(self, name: str) -> list[EmailMessage]:
        """Return the messages that a mailbox holds."""
        files = (self._folder / "mail" / name / "new").glob("*")
        return [message_from_bytes(each.read_bytes(), policy=policy.default) for each in files]

    def log(self) -> str:
        """Return its log."""
        return (self._folder / "log").read_text()

    def _make_folders(self) -> None:
        owner, drop = _account("postfix"), _account("postfix").gid
        (self._folder / "etc").mkdir(mode=0o755)
        _make(self._folder / "mail", _account("nobody"), 0o700)
        _make(self._folder / "data", owner, 0o700)
        _make(self._folder / "queue", SystemUser(0, 0), 0o755)
        _make(self._folder / "queue" / "pid", SystemUser(0, 0), 0o755)
        for name in QUEUES:
            mode = 0o710 if name == "public" else 0o730 if name == "maildrop" else 0o700
            _make(self._folder / "queue" / name, SystemUser(owner.uid, drop), mode)


def _make(folder: Path, owner: SystemUser, mode: int) -> None:
    folder.mkdir()
    os.chown(folder, owner.uid, owner.gid)
    folder.chmod(mode)


def _account(name: str) -> SystemUser:
    found = pwd.getpwnam(name)
    return SystemUser(found.pw_uid, found.pw_gid)
