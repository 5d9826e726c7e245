"""The table of bounds: each row names its tests, which take less time where settings allow."""

import re

from devstack.service_processes import ROOT

TESTS = ROOT / "tests"

ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)

FUNCTION = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)

PROOFS = {
    "`queued`, its lane has a free slot": [
        "test_one_waking_is_enough_for_all_that_waits",
        "test_what_a_queue_has_forgotten_runs_all_the_same",
    ],
    "`queued`, its lane is full": [
        "test_an_export_waits_behind_those_who_have_fewer",
    ],
    "`queued`, its lane has a free slot, in any state of Redis": [
        "test_redis_hangs",
        "test_redis_is_stopped",
    ],
    "`queued` after a temporary error": [
        "test_a_temporary_error_queues_the_export_again",
        "test_temporary_errors_that_last_too_long_end_the_export",
    ],
    "`running`, its worker is dead or frozen": [
        "test_a_killed_worker_s_export_runs_again_in_time",
        "test_a_frozen_worker_does_not_hold_up_the_rest",
    ],
    "`running`, no byte moves and no key range ends": [
        "test_a_stalled_stream_is_a_temporary_error",
        "test_a_range_that_ends_without_a_row_is_no_stall",
    ],
    "`running`, an attempt": [
        "test_an_export_that_always_takes_too_long_ends_whatever_number_of_attempts_it_has_left",
    ],
    "`queued` and `running` in turn, however the attempts end": [
        "test_an_export_that_always_takes_too_long_ends_whatever_number_of_attempts_it_has_left",
        "test_an_export_handed_back_again_and_again_ends",
        "test_an_export_whose_first_attempt_began_too_long_ago_is_not_queued_again",
    ],
    "`running`, the database is unavailable when it finishes": [
        "test_an_end_is_recorded_when_the_database_is_back",
        "test_a_database_that_stays_away_leaves_the_export_to_the_recovery",
    ],
    "an export that kills its workers, or fails with an unexpected error": [
        "test_an_export_that_lost_its_worker_too_often_has_failed",
        "test_what_no_outage_explains_is_tried_a_few_times_only",
    ],
    "`succeeded`, `DELETE`": [
        "test_a_finished_export_loses_its_file_at_once",
        "test_a_file_that_the_store_keeps_is_tried_again_and_holds_up_nothing_else",
    ],
    "any active state, `DELETE`": [
        "test_a_queued_export_is_cancelled_and_never_runs",
        "test_a_running_export_ends_everywhere_within_seconds",
    ],
    "what a dead, failed or cancelled attempt left (sessions, uploads, an object)": [
        "test_what_attempts_left_is_cleared",
    ],
    "an object or upload that no export owns": [
        "test_an_export_that_does_not_exist_owns_nothing",
    ],
    "mail `pending`, due": [
        "test_success_is_reported_once",
        "test_an_export_ends_and_its_mail_goes_out",
    ],
    "mail `pending`, its worker died": [
        "test_the_mail_of_a_sender_that_died_is_due_again_after_its_lease",
    ],
    "mail `pending`, the mail server is silent": [
        "test_each_step_has_its_time_limit",
        "test_a_silent_server_is_given_up",
    ],
    "mail `pending`, the message got no reply": [
        "test_a_content_without_an_answer_is_repeated_once_and_much_later",
    ],
    'mail `pending`, the mail server says "later"': [
        "test_a_deferred_mail_is_due_again_later_and_later",
        "test_a_mail_deferred_for_too_long_has_failed",
    ],
    "the notice of a large list, due": [
        "test_a_large_list_is_told_of_in_a_mail_without_the_link",
    ],
    "the notice of a large list, its worker died": [
        "test_a_frozen_sender_whose_lease_another_took_sends_nothing",
    ],
    "webhook `pending`, due": [
        "test_an_endpoint_that_hangs_keeps_nobody_else_waiting",
    ],
    "webhook `pending`, its service removed or disabled": [
        "test_what_waits_for_a_removed_endpoint_is_given_up",
    ],
    "webhook `pending`, its worker died": [
        "test_a_call_that_died_is_made_again_after_its_lease",
    ],
    "webhook `pending`, not accepted": [
        "test_after_three_days_it_is_given_up",
    ],
    "`succeeded`, expired": [
        "test_a_file_whose_time_is_over_is_erased_and_the_row_says_so",
        "test_a_worker_expires_files_whose_time_is_over",
    ],
    "rows": [
        "test_keys_are_kept_for_a_day",
        "test_rows_are_kept_for_thirty_days_after_their_end",
    ],
    "recovery, expiry or cleanup, the worker that was doing it died": [
        "test_a_task_of_a_worker_that_died_is_taken_over_after_its_lease",
    ],
    "a lock of a process that froze in a transaction": [
        "test_sessions_have_our_limits_whatever_the_role_says",
        "test_a_recovery_that_froze_holds_up_no_other",
    ],
    "a worker after SIGTERM": [
        "test_what_does_not_end_in_time_is_released",
        "test_nothing_that_hangs_keeps_a_worker_from_ending",
    ],
}
"""For each state of the table, the tests of its bound. ``chaos`` waits for the default settings."""


def states() -> list[str]:
    """Return the first column of the table."""
    page = (ROOT / "docs/troubleshoot.md").read_text()
    chapter = page.split("## How long each state may last\n")[1].split("\n## ")[0]
    _, _, *rows = ROW.findall(chapter)
    return [state for state, *_ in rows]


def test_every_bound_has_its_tests() -> None:
    assert states() == list(PROOFS)


def test_the_tests_of_bounds_exist() -> None:
    defined = {
        name for path in TESTS.rglob("test_*.py") for name in FUNCTION.findall(path.read_text())
    }
    assert {name for names in PROOFS.values() for name in names} <= defined
