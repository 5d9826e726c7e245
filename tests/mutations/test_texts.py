"""What is changed in SQL and patterns, so that tests have to notice."""

import pytest

from tests.mutations.texts import mutations


@pytest.mark.parametrize(
    ("text", "mutated"),
    [
        ("WHERE id = :id\n    AND status = 'queued'\n", "WHERE id = :id\n"),
        ("WHERE (a IS NULL OR b = 1) AND c", "WHERE (a IS NULL) AND c"),
        ("SET a = 1,\n    b = now(),\n    c = 2", "SET a = 1,\n    c = 2"),
        ("WHERE a = 1", "WHERE a <> 1"),
        ("WHERE due_at <= now()", "WHERE due_at < now()"),
        ("SELECT id\n ORDER BY id\n LIMIT 1", "SELECT id\n LIMIT 1"),
        ("SELECT 1 FROM a\n FOR UPDATE SKIP LOCKED", "SELECT 1 FROM a\n FOR UPDATE"),
        ("SET attempt = attempt + 1", "SET attempt = attempt - 1"),
        ("WHERE at > now() - interval '1 hour'", "WHERE at > now() - interval '11 hour'"),
        (r"(?:[a-z]+\.)+", r"(?:[a-z]*\.)+"),
        (r"^(?:a)$", r"(?:a)$"),
    ],
)
def test_one_change_makes_another_statement_or_pattern(text: str, mutated: str) -> None:
    assert mutated in list(mutations(text))


@pytest.mark.parametrize("text", ["A sentence and another.", "%Y-%m-%d", "audience-1.csv", ""])
def test_other_strings_stay(text: str) -> None:
    assert list(mutations(text)) == []
