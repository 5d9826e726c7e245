"""What every problem document must be (RFC 9457)."""

from httpx import Response

from app.api.problem_schema import PROBLEM, PROBLEM_CODES
from app.api.problems import MEDIA_TYPE, TYPE_PREFIX


def assert_problem(answer: Response, status: int, code: str) -> None:
    """Fail unless ``answer`` is a well-formed problem of this status and kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    document = answer.json()
    assert document["type"] == TYPE_PREFIX + code
    assert document["code"] == code
    assert document.keys() <= PROBLEM["properties"].keys()
    assert code in PROBLEM_CODES, "generated clients know no other"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in answer.text


def faulty_fields(answer: Response) -> list[str]:
    """Return the fields that a problem document names, in order."""
    faults = answer.json()["errors"]
    assert all(fault["reason"] for fault in faults)
    return [fault["field"] for fault in faults]
