"""Whose request a line or a span belongs to: what callers may send, and what is made of it."""

import pytest
import structlog

from app.observability.correlation import (
    bind_log_context,
    log_context,
    parse_request_id,
    parse_traceparent,
    trace_id,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("sent", ["a", "r-1", "A.b_c-9", "x" * 128])
def test_a_safe_request_id_is_taken_as_it_is(sent: str) -> None:
    assert parse_request_id([sent]) == sent


@pytest.mark.parametrize(
    "sent", [[], [""], ["x" * 129], ["a b"], ["a\nb"], ["ann@x.co"], ["<b>"], ["ü"], ["a", "b"]]
)
def test_any_other_request_id_is_replaced_by_a_new_one(sent: list[str]) -> None:
    first, second = parse_request_id(sent), parse_request_id(sent)
    assert first != second
    assert first not in sent
    assert parse_request_id([first]) == first


@pytest.mark.parametrize("flags", ["00", "01", "03"])
def test_a_valid_traceparent_is_taken_as_it_is(flags: str) -> None:
    sent = f"00-{TRACE}-{PARENT}-{flags}"
    assert parse_traceparent([sent]) == sent
    assert trace_id(sent) == TRACE


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [""],
        [VALID, VALID],
        [VALID.upper()],
        [f"{VALID}-more"],
        [f"{VALID}x"],
        [VALID[:-1]],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"0g-{TRACE}-{PARENT}-01"],
        [f"cc-{TRACE}-{PARENT}-01.what"],
        ["\u0660" + VALID[1:]],
    ],
)
def test_a_traceparent_that_is_none_counts_as_absent(sent: list[str]) -> None:
    assert parse_traceparent(sent) is None


@pytest.mark.parametrize("more", ["", "-what-the-future-will-be-like"])
def test_of_a_later_traceparent_what_is_known_is_passed_on(more: str) -> None:
    assert parse_traceparent([f"cc-{TRACE}-{PARENT}-ff{more}"]) == VALID


def test_lines_name_the_request_while_it_lasts() -> None:
    with log_context("r-1", VALID):
        assert structlog.contextvars.get_contextvars() == {"request_id": "r-1", "trace_id": TRACE}
        with log_context(None, None):
            assert structlog.contextvars.get_contextvars()["request_id"] == "r-1"
    assert structlog.contextvars.get_contextvars() == {}


def test_a_request_forgets_the_one_before_it() -> None:
    bind_log_context("r-1", VALID)
    bind_log_context("r-2", None)
    assert structlog.contextvars.get_contextvars() == {"request_id": "r-2"}
    structlog.contextvars.clear_contextvars()
