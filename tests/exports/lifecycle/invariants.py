"""What must hold between any two operations, whoever did them."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from app.config import Settings
from app.errors import Unexpected
from app.exports.delivery.mail_outcome import UNANSWERED_MAX
from app.exports.object_keys import object_key, parse_object_key
from app.models import ACTIVE, AttemptKey, ExportKey
from tests.exports.lifecycle.service import State
from tests.exports.lifecycle.steps import Process

Row = Mapping[str, Any]
Edge = tuple[str, str]

NOWHERE = "[*]"
"""Where an export comes from, and where its row goes, in the documentation's diagram."""

RUN = "run waiting exports"
MAIL = "send due mails"
RECLAIM = "reclaim expired leases"
CLEAN_UP = "clean up failed attempts"
EXPIRE = "expire files"
NOTIFY = "send due notices"
PRUNE = "delete old rows"
ORPHANS = "delete orphans"
DELETE, RESEND, RETRY, REQUEST = "DELETE", "resend", "retry", "POST"

MAIL_CAUSES = {
    (None, "pending"): {RUN, RECLAIM, RESEND},
    ("sent", "pending"): {RESEND},
    ("failed", "pending"): {RESEND},
    ("pending", "sent"): {RUN, MAIL},
    ("pending", "failed"): {RUN, MAIL, EXPIRE},
    ("pending", None): {DELETE, RETRY},
    ("sent", None): {RETRY},
    ("failed", None): {RETRY},
}
"""Who may change the state of a mail how."""

FREE = {"uncleaned_attempts", "required_lsn", "notice_status", "notice_unanswered"}
"""Columns of a running export that others than its worker may change."""


class Invariants:
    """Compares the state before and after each operation.

    Args:
        edges: the transitions that the documentation's diagram shows.

    Attributes:
        taken: the transitions seen so far.
        slack: how far the clocks were set back, in all: bounds are that much later.
    """

    def __init__(self, edges: set[Edge], settings: Settings) -> None:
        self.taken: set[Edge] = set()
        self.slack = timedelta(seconds=1)
        self._edges = edges
        self._settings = settings
        self._owners: dict[AttemptKey, Process] = {}
        self._senders: dict[tuple[UUID, int, int], Process] = {}
        self._copies: Counter[str] = Counter()

    def clocks_stepped(self, seconds: float) -> None:
        """Allow for clocks that were set back."""
        self.slack += timedelta(seconds=max(0, -seconds))

    def check(self, process: Process, before: State, after: State) -> None:
        """Check one operation of a process."""
        for export_id in before.rows.keys() | after.rows.keys():
            old, new = before.rows.get(export_id), after.rows.get(export_id)
            self._the_transition_is_documented(old, new)
            if old is not None and new is not None and old != new:
                self._only_the_owner_changes_a_running_export(process, old, new, after)
                self._the_change_of_the_mail_has_a_cause(process, old, new, after)
            if new is not None:
                self._note_owners(process, old, new)
                self._every_state_has_a_bound(new, after)
                self._the_file_is_where_the_row_says(new, after)
        for message in after.messages[len(before.messages) :]:
            self._a_mail_has_a_cause(process, message, before)
        for key in after.objects:
            self._the_object_has_an_owner(key, after)

    def _the_transition_is_documented(self, old: Row | None, new: Row | None) -> None:
        edge = (_status(old), _status(new))
        if edge[0] == edge[1]:
            return
        assert edge in self._edges, f"{edge[0]} --> {edge[1]} is not in the diagram"
        self.taken.add(edge)

    def _note_owners(self, process: Process, old: Row | None, new: Row) -> None:
        """Note who claimed an attempt or a mail: no two ever have the same one."""
        if (old["attempt"] if old else 0) != new["attempt"]:
            assert new["attempt"] == (old["attempt"] if old else 0) + 1
            assert (_status(old), new["status"]) == ("queued", "running")
            assert _attempt(new) not in self._owners, "an attempt is claimed twice"
            self._owners[_attempt(new)] = process
        lease = (new["id"], new["email_sequence"], new["email_attempts"])
        if new["email_attempts"] > 0 and lease not in self._senders:
            self._senders[lease] = process

    def _only_the_owner_changes_a_running_export(
        self, process: Process, old: Row, new: Row, after: State
    ) -> None:
        changed = {name for name in new.keys() if old[name] != new[name]} - FREE  # noqa: SIM118
        if old["status"] != "running" or not changed:
            return
        is_expired = old["lease_expires_at"] <= after.now
        assert (
            process is self._owners[_attempt(old)]
            or process.name == DELETE
            or (process.name == RECLAIM and is_expired)
        ), f"{process.name} changed {changed} of an export that another process runs"

    def _the_change_of_the_mail_has_a_cause(
        self, process: Process, old: Row, new: Row, after: State
    ) -> None:
        change = (old["email_status"], new["email_status"])
        if change[0] != change[1]:
            assert process.name in MAIL_CAUSES[change], f"{process.name} made the mail {change}"
        if change == ("pending", "sent"):
            assert self._senders[_mail(old)] is process, "a mail is recorded by its sender"
        if change == ("pending", "failed") and process.name != EXPIRE:
            requested_at = max([old["finished_at"], *old["email_resent_at"]])
            age_s = (after.now - requested_at).total_seconds()
            assert (
                any(str(new["id"]) in refused for refused in process.refused)
                or new["email_unanswered"] >= UNANSWERED_MAX
                or age_s >= self._settings.mail_retry_max_age_s
            ), f"a mail is given up {age_s:.0f} s after it was requested"

    def _every_state_has_a_bound(self, row: Row, after: State) -> None:
        settings, latest = self._settings, after.now + self.slack
        match row["status"]:
            case "queued":
                assert row["due_at"] <= latest + timedelta(seconds=settings.retry_max_s)
            case "running":
                assert row["lease_expires_at"] <= latest + timedelta(seconds=settings.lease_s)
            case "succeeded":
                lifetime = timedelta(seconds=settings.link_lifetime_s)
                assert row["expires_at"] <= latest + lifetime
                if row["deletion_requested_at"] is not None:
                    assert row["uncleaned_attempts"], "nobody would delete the file"
            case _:
                assert row["finished_at"] is not None, "the row would stay for good"
        assert row["error_code"] != Unexpected.code, row["error_detail"]
        assert (row["lease_expires_at"] is not None) == (row["status"] == "running")
        assert (row["email_due_at"] is not None) == (row["email_status"] == "pending")
        if row["email_status"] == "pending":
            assert _may_be_mailed(row), "a mail waits that nobody may send"
            latest_mail = timedelta(seconds=settings.mail_unanswered_retry_s * 1.25)
            assert row["email_due_at"] <= latest + latest_mail

    def _the_file_is_where_the_row_says(self, row: Row, after: State) -> None:
        if row["status"] != "succeeded":
            return
        key = object_key(self._settings.s3_prefix, _attempt(row), row["format"])
        assert row["object_key"] == key, "the file is another attempt's"
        # Where clocks were set back while files expire, one may be gone that is not over now.
        may_be_over = row["expires_at"] <= after.now + self.slack
        if row["deletion_requested_at"] is None and not may_be_over:
            assert key in after.objects, "the file is gone"

    def _the_object_has_an_owner(self, key: str, after: State) -> None:
        """An object is a file, or its row says that it is to be cleaned up.

        Otherwise its process still runs and will say so, or was killed: then it is an orphan.
        """
        attempt = parse_object_key(self._settings.s3_prefix, key)
        assert attempt is not None
        row, owner = after.rows.get(attempt.export.id), self._owners[attempt]
        assert (
            owner.is_running
            or owner.is_killed
            or (row is not None and key == row["object_key"])
            or (row is not None and attempt.number in row["uncleaned_attempts"])
        ), f"no row knows of {key}"

    def _a_mail_has_a_cause(self, process: Process, message: EmailMessage, before: State) -> None:
        export_id, sequence, kind = mail_identity(message)
        copies = self._copies[message["Message-ID"]]
        self._copies[message["Message-ID"]] += 1
        assert copies < UNANSWERED_MAX
        row = before.rows[export_id]
        if kind == "notice":
            assert row["notice_status"] == "pending"
            assert copies <= row["notice_unanswered"], "a notice was sent again that had arrived"
            return
        assert row["email_status"] == "pending", "a mail left that nobody had asked for"
        assert sequence == row["email_sequence"], "a mail left that had been replaced"
        assert kind == {"succeeded": "ready", "failed": "failed"}[row["status"]]
        assert self._senders[_mail(row)] is process, "a mail left from two processes"
        assert copies <= row["email_unanswered"], "a mail was sent again that had arrived"


def mail_identity(message: EmailMessage) -> tuple[UUID, int, str]:
    """Return a mail's export, how often it had been asked for again, and its kind."""
    export_id, sequence, kind = str(message["Message-ID"]).strip("<").split("@")[0].split(".")
    return UUID(export_id), int(sequence), kind


def is_active(row: Row) -> bool:
    """Return whether an export is queued or running."""
    return row["status"] in ACTIVE


def _may_be_mailed(row: Row) -> bool:
    is_ready = row["status"] == "succeeded" and row["deletion_requested_at"] is None
    return is_ready or row["status"] == "failed"


def _status(row: Row | None) -> str:
    return NOWHERE if row is None else str(row["status"])


def _attempt(row: Row) -> AttemptKey:
    return ExportKey(row["seller_id"], row["id"]).attempt(row["attempt"])


def _mail(row: Row) -> tuple[UUID, int, int]:
    return (row["id"], row["email_sequence"], row["email_attempts"])
