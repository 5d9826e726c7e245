"""The life of an export as a state machine: any order of operations, by any number of processes.

Hypothesis chooses what is requested, which worker begins what, whose operation happens next and how
it ends, who freezes or dies, and how clocks step. After each operation the invariants hold; at the
end, one healthy worker ends everything within the time that the table of bounds allows.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, currently_in_test_context, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app import retry as retrying
from app.database.connections import connect
from app.errors import (
    DatabaseUnavailable,
    ExportNotReady,
    QuotaExceeded,
    ServiceError,
)
from app.exports.audit import NO_CONTEXT
from app.exports.cleanup import deletion
from app.exports.delivery import outbox
from app.exports.delivery.resend import RESENDS_PER_HOUR, resend_email
from app.exports.execution import completion
from app.exports.submission.retry import retry_export
from app.exports.submission.submit import SubmissionResult, submit_export
from tests.adapters.settings import settings_with
from tests.audience.storefront import Storefront
from tests.docs.pages import state_transitions
from tests.exports.conftest import make_request
from tests.exports.lifecycle.invariants import (
    CLEAN_UP,
    DELETE,
    EXPIRE,
    MAIL,
    NOTIFY,
    ORPHANS,
    PRUNE,
    RECLAIM,
    REQUEST,
    RESEND,
    RETRY,
    RUN,
    Edge,
    Invariants,
    is_active,
    mail_identity,
)
from tests.exports.lifecycle.model import Answer, Keys, expected_answer
from tests.exports.lifecycle.service import Service, State
from tests.exports.lifecycle.steps import Operation, Outcome, Process

Result = TypeVar("Result")
Plan = tuple[list[Outcome], bool]

TASKS = (RECLAIM, CLEAN_UP, RUN, MAIL, NOTIFY, EXPIRE, ORPHANS, PRUNE)
HOUR_S, DAY_S = 3600, 86_400
NEVER_S = 1e6

SMALL = {
    "max_failures": 3,
    "max_active_exports_per_seller": 3,
    "max_exports_per_seller_per_hour": 8,
    "heartbeat_s": 1e-9,
    "notify_email": "privacy@example.com",
    "notify_above_rows": 0,
}
"""Limits that a few exports reach; a heartbeat is always about to renew its lease."""

outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [*["succeeds"] * 5, "fails", "is lost", "is refused"]
)
plans: st.SearchStrategy[Plan] = st.tuples(st.lists(outcomes, max_size=6), st.booleans())
"""How the first operations of a process end, and whether it then goes on to its end; otherwise it
is left in the middle."""

some = st.integers(0, 59)
"""Which one of several, counted round."""

recipients = st.sampled_from(["a@example.com", "b@example.com"])

TO_THE_END: Plan = ([], True)

LAST = -1

STORED: tuple[Outcome | None, ...] = (
    "succeeds",
    "succeeds",
    "is refused",
    "is refused",
    "fails",
    None,
)
"""How files are stored in the tour of all transitions; ``None``: the export is cancelled before."""

RELEVANT = {
    RUN: ("queued",),
    MAIL: ("succeeded", "failed"),
    RECLAIM: ("running",),
    CLEAN_UP: ("queued", "running", "succeeded", "failed", "cancelled"),
    EXPIRE: ("succeeded",),
    NOTIFY: ("succeeded",),
    ORPHANS: ("succeeded", "running", "failed"),
    PRUNE: ("failed", "cancelled", "expired", "deleted"),
    DELETE: ("queued", "running", "succeeded", "failed"),
    RESEND: ("succeeded", "failed", "running"),
    RETRY: ("failed",),
}
"""Of which exports a task or call may change something; others are not chosen, to save time."""


def tell(text: str) -> None:
    """Print what happened where Hypothesis explains a failure."""
    if currently_in_test_context():
        note(text)


class Life(RuleBasedStateMachine):
    """Calls of the API, workers and clocks around the exports of two sellers.

    Attributes:
        taken: the transitions of all runs.
        processes: those in the middle of something.
        state: what is stored now.
    """

    service: Service
    runner: asyncio.Runner
    edges: set[Edge]
    taken: set[Edge]

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.keys = Keys()
        self.checks = Invariants(self.edges, self.service.settings)
        self.service.begin_anew()
        self.run(self.service.empty())
        self.state: State = self.run(self.service.state())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for ``work``."""
        return self.runner.run(work)

    @initialize(first=recipients, second=recipients)
    def begin(self, first: str, second: str) -> None:
        """Begin with two requests, which may be one export."""
        self.request(1, first, None, "succeeds")
        self.request(1, second, None, "succeeds")

    @rule(
        seller_id=st.sampled_from([1, 2]),
        recipient=recipients,
        key=st.sampled_from([None, "key"]),
        outcome=outcomes,
    )
    def request(self, seller_id: int, recipient: str, key: str | None, outcome: Outcome) -> None:
        """``POST /exports``, which is one transaction; a caller without an answer repeats it."""
        before = self.state
        answer = self.post(seller_id, recipient, key, outcome)
        if isinstance(answer, DatabaseUnavailable):
            answer = self.post(seller_id, recipient, key, "succeeds")
        made = self.state.rows.keys() - before.rows.keys()
        expected = expected_answer(
            before, self.service.settings, self.keys.find(seller_id, key), seller_id, recipient
        )
        tell(f"  expected: {expected}")
        match expected:
            case Answer.UNKNOWN:
                if made:  # otherwise the key's life goes on
                    self.keys.forget(seller_id, key)
            case Answer.NEW:
                assert isinstance(answer, SubmissionResult), answer
                assert {answer.export.id} == made
            case UUID():
                assert isinstance(answer, SubmissionResult), answer
                assert (answer.export.id, made) == (expected, set())
            case error:
                assert isinstance(answer, error), answer
                assert made == set()
        if isinstance(answer, SubmissionResult):
            self.keys.note(seller_id, key, answer.export.id, recipient)

    @precondition(lambda self: self.state.rows)
    @rule(which=some, plan=plans)
    def work(self, which: int, plan: Plan) -> None:
        """A worker begins a periodic task; one of them runs exports and sends their mails."""
        tasks = [task for task in TASKS if self.relevant(task)]
        task = tasks[which % len(tasks)]
        self.start(task, self.service.work(task), plan)

    @precondition(lambda self: self.relevant(RUN))
    @rule(plan=plans)
    def run_exports(self, plan: Plan) -> None:
        """A worker begins to run what is queued."""
        self.start(RUN, self.service.work(RUN), plan)

    @precondition(lambda self: self.relevant(DELETE))
    @rule(which=some, plan=plans)
    def delete(self, which: int, plan: Plan) -> None:
        """``DELETE /exports/{id}``, which repeated changes nothing."""
        export_id = self.one_of(DELETE, which)
        if self.start(DELETE, self.deletion(export_id), plan).is_running:
            return
        self.start(DELETE, self.deletion(export_id), TO_THE_END)
        once = self.state.rows[export_id]
        self.start(DELETE, self.deletion(export_id), TO_THE_END)
        assert self.state.rows[export_id] == once

    @precondition(lambda self: self.relevant(RESEND))
    @rule(which=some, outcome=outcomes)
    def resend(self, which: int, outcome: Outcome) -> None:
        """``POST /exports/{id}/email``, which is one transaction."""
        row = self.state.rows[self.one_of(RESEND, which)]
        error = self.call(
            RESEND, resend_email(self.service.resources.database, row["id"], None), outcome
        )
        match error:
            case QuotaExceeded():
                assert len(row["email_resent_at"]) >= RESENDS_PER_HOUR
            case ExportNotReady():
                assert row["status"] != "failed"
                assert row["email_status"] == self.state.rows[row["id"]]["email_status"]
            case _:
                assert error is None or isinstance(error, DatabaseUnavailable)

    @precondition(lambda self: self.relevant(RETRY))
    @rule(which=some, outcome=outcomes)
    def retry(self, which: int, outcome: Outcome) -> None:
        """``audience-export exports retry``, which is one transaction."""
        resources, row = self.service.resources, self.state.rows[self.one_of(RETRY, which)]
        work = retry_export(
            resources.database, resources.queue, resources.export_events, row["id"], NO_CONTEXT
        )
        error = self.call(RETRY, work, outcome)
        assert isinstance(error, DatabaseUnavailable) or (error is None) == (
            row["status"] == "failed"
        )

    @precondition(lambda self: self.processes)
    @rule(which=some, is_heartbeat=st.booleans(), outcome=outcomes)
    def step(self, which: int, is_heartbeat: bool, outcome: Outcome) -> None:
        """One operation of a process in the middle of something: a heartbeat, if it has one."""
        process = self.process(which)
        self.release(process, process.waiting[-1 if is_heartbeat else 0], outcome)

    @precondition(lambda self: self.processes)
    @rule(which=some)
    def go_on(self, which: int) -> None:
        """A process that was frozen continues to its end."""
        self.finish(self.process(which))

    @precondition(lambda self: self.processes)
    @rule(which=some)
    def kill(self, which: int) -> None:
        """A process is killed."""
        self.end_by_force(self.process(which))

    @precondition(lambda self: self.processes)
    @rule(which=some)
    def stop(self, which: int) -> None:
        """A process is told to stop: a worker releases what it runs."""
        process = self.process(which)
        process.task.cancel()
        self.run(self.service.steps.settle())
        self.observe(process)
        self.finish(process)

    @precondition(lambda self: self.relevant(RECLAIM))
    @rule()
    def lose_leases(self) -> None:
        """Everything stands still for longer than a lease; then recovery reclaims."""
        self.step_clocks(int(self.service.settings.lease_s) + 1)
        self.start(RECLAIM, self.service.work(RECLAIM), TO_THE_END)

    @rule(seconds=st.sampled_from([1, 31, 61, 61, 4500, DAY_S + 1, 7 * DAY_S + 1, -31, -HOUR_S]))
    def step_clocks(self, seconds: int) -> None:
        """The clocks of database and store step: time passed, or they were corrected."""
        self.run(self.service.move_clocks(seconds))
        self.keys.age(seconds)
        self.checks.clocks_stepped(seconds)
        self.state = self.run(self.service.state())

    # What the rules are made of

    def post(
        self, seller_id: int, recipient: str, key: str | None, outcome: Outcome
    ) -> SubmissionResult | BaseException | None:
        """Send a request and return its answer, or its error."""
        resources, answers = self.service.resources, list[SubmissionResult]()

        async def post() -> None:
            request = make_request(seller_id=seller_id, recipient_email=recipient)
            answers.append(
                await submit_export(
                    resources.database,
                    resources.audience_database,
                    resources.settings,
                    request,
                    key,
                    locks=resources.seller_locks,
                )
            )

        return self.call(REQUEST, post(), outcome) or answers[0]

    async def deletion(self, export_id: UUID) -> None:
        """Delete an export as the API does."""
        resources = self.service.resources
        await deletion.delete_export(resources.database, resources.attempt_cleaner, export_id, None)

    def relevant(self, action: str) -> list[UUID]:
        """Return the exports of which an action may change something."""
        rows = self.state.rows.values()
        return sorted(row["id"] for row in rows if row["status"] in RELEVANT[action])

    def one_of(self, action: str, which: int) -> UUID:
        """Return one of the exports of which an action may change something."""
        ids = self.relevant(action)
        return ids[which % len(ids)]

    def process(self, which: int) -> Process:
        """Return one of the processes that are in the middle of something."""
        return self.processes[which % len(self.processes)]

    def call(
        self, name: str, work: Coroutine[Any, Any, object], outcome: Outcome
    ) -> BaseException | None:
        """Run a call that is one operation; return its error."""
        return self.start(name, work, ([outcome], True)).task.exception()

    def start(self, name: str, work: Coroutine[Any, Any, object], plan: Plan) -> Process:
        """Start a process and follow its plan."""
        process = self.run(self.service.steps.start(name, work))
        self.processes.append(process)
        self.observe(process)
        outcomes, goes_on = plan
        for outcome in outcomes:
            if process.waiting:
                self.release(process, process.waiting[0], outcome)
        if goes_on:
            self.finish(process)
        return process

    def finish(self, process: Process) -> None:
        """Let a process do everything that it has left to do."""
        while process.waiting:
            self.release(process, process.waiting[0], "succeeds")

    def release(self, process: Process, operation: Operation, outcome: Outcome) -> None:
        """Let one operation happen, and check what it changed."""
        tell(f"  {process.name}: {operation.kind} {outcome}")
        self.run(self.service.steps.release(operation, outcome))
        self.observe(process)

    def end_by_force(self, process: Process) -> None:
        """Kill a process: it changes nothing any more."""
        self.run(self.service.steps.kill(process))
        self.observe(process)

    def observe(self, process: Process) -> None:
        """Check the step of a process, and forget it if it has ended."""
        before, self.state = self.state, self.run(self.service.state())
        self.checks.check(process, before, self.state)
        self.taken.update(self.checks.taken)
        assert self.service.unexpected_errors() == 0
        if not process.is_running and process in self.processes:
            self.processes.remove(process)
            error = None if process.task.cancelled() else process.task.exception()
            assert process.is_killed or error is None or isinstance(error, ServiceError), error

    # The end

    def teardown(self) -> None:
        """Let every second process die and the others finish; then everything ends in time."""
        has_failed = sys.exc_info()[0] is not None
        for number, process in enumerate(list(self.processes)):
            if has_failed:
                self.run(self.service.steps.kill(process))
            elif number % 2:
                self.end_by_force(process)
            else:
                self.finish(process)
        if not has_failed:
            self.everything_ends()

    def everything_ends(self) -> None:
        """One worker, whose dependencies are available, ends every state within its bound."""
        limits = self.service.settings
        behind_s = self.checks.slack.total_seconds()
        self.pass_time(behind_s + limits.lease_s + limits.recovery_interval_s, RECLAIM, RUN)
        self.pass_time(limits.retry_max_s, RUN)
        assert not any(is_active(row) for row in self.rows)
        self.pass_time(limits.mail_unanswered_retry_s * 1.25, CLEAN_UP, EXPIRE, MAIL, NOTIFY)
        assert not any(row["email_status"] == "pending" for row in self.rows)
        assert not any(row["notice_status"] == "pending" for row in self.rows)
        assert not any(row["uncleaned_attempts"] for row in self.rows)
        deleted = [row for row in self.rows if row["deletion_requested_at"] is not None]
        assert {row["status"] for row in deleted} <= {"deleted"}
        self.pass_time(limits.orphan_min_age_s, ORPHANS)
        assert self.state.objects == {row["object_key"] for row in self.rows} - {None}
        self.the_audit_and_the_mails_agree()
        self.pass_time(limits.link_lifetime_s, EXPIRE)
        assert self.state.objects == set()
        self.pass_time(31 * DAY_S, PRUNE)
        assert self.state.rows == {}

    def pass_time(self, seconds: float, *tasks: str) -> None:
        """Let time pass, and a worker do what is due then."""
        self.run(self.service.move_clocks(seconds))
        self.state = self.run(self.service.state())
        for task in tasks:
            self.start(task, self.service.work(task), TO_THE_END)

    @property
    def rows(self) -> list[Any]:
        """The rows of all exports."""
        return list(self.state.rows.values())

    def the_audit_and_the_mails_agree(self) -> None:
        """Each export has an audit entry for each thing done, and one mail for each end."""
        identities = {mail["Message-ID"]: mail_identity(mail) for mail in self.state.messages}
        sent = Counter((export_id, kind) for export_id, _, kind in identities.values())
        for row in self.rows:
            actions = Counter(self.run(self.service.audit(row["id"])))
            assert actions["requested"] == 1
            assert actions["cancelled"] == (row["status"] == "cancelled")
            assert actions["erased"] == (row["deletion_requested_at"] is not None)
            assert actions["expired"] == (row["status"] == "expired")
            assert row["email_sequence"] == actions["resent"] + actions["retried"]
            assert sent[row["id"], "ready"] <= 1 + actions["resent"]
            assert sent[row["id"], "failed"] <= 1 + actions["resent"] + actions["retried"]
            if row["email_status"] == "sent":
                assert sent[row["id"], "failed" if row["status"] == "failed" else "ready"] >= 1


@pytest.fixture
def lives(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Life]]:
    """The state machine on this test's database, where no timeout depends on the test's speed."""
    monkeypatch.setattr(retrying, "PAUSE_S", 0)
    for module, name in (
        (deletion, "CLEAR_TIMEOUT_S"),
        (outbox, "RELEASE_TIMEOUT_S"),
        (completion, "RELEASE_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, name, NEVER_S)
    with asyncio.Runner() as runner:
        runner.run(follow(database_url))
        settings = settings_with(database_url=database_url, public_url="https://lists.example")
        service = Service(settings.model_copy(update=SMALL))
        edges = state_transitions("architecture.md")
        here = {"service": service, "runner": runner, "edges": edges, "taken": set()}
        yield type("LifeHere", (Life,), here)
        runner.run(service.close())


async def follow(url: str) -> None:
    """Give seller 1 a follower, so that their lists are above the size that is told of."""
    connection = await connect(url)
    await Storefront(connection).follow("a@x.co", seller_id=1)
    await connection.close()


def test_every_transition_of_the_diagram_is_taken(lives: type[Life]) -> None:
    life = lives()
    for number, outcome in enumerate(STORED):
        life.request(1, f"{number}@example.com", None, "succeeds")
        process = life.start(RUN, life.service.work(RUN), (["succeeds"] * 3, False))
        [operation] = [each for each in process.waiting if each.kind == "put"]
        if outcome is None:
            life.delete(LAST, TO_THE_END)
            continue
        life.release(process, operation, outcome)
        life.finish(process)
        if outcome == "fails":
            life.delete(LAST, TO_THE_END)
    life.delete(1, TO_THE_END)
    life.retry(0, "succeeds")
    life.teardown()
    assert life.taken == life.edges


@pytest.mark.parametrize(
    ("examples", "steps"), [(60, 50), pytest.param(1_000, 60, marks=pytest.mark.slow)]
)
def test_every_life_of_an_export_is_in_the_diagram(
    lives: type[Life], examples: int, steps: int
) -> None:
    run_state_machine_as_test(
        lives,
        settings=hypothesis_settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
