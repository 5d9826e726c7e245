"""One word for one thing: what was renamed does not come back."""

import pytest

from tests.vocabulary import LIST, Retired, Use, read_list, uses, uses_in

EXAMPLE = Retired(
    identifiers=["KeyOrder"],
    names=["floor"],
    words=["bell", "put off"],
    allowed=["docs/*: Liberty Bell"],
)


@pytest.fixture(scope="module")
def retired() -> Retired:
    return read_list(LIST.read_text())


@pytest.fixture(scope="module")
def found(retired: Retired) -> list[Use]:
    return uses(retired)


def test_no_retired_word_is_in_use(retired: Retired, found: list[Use]) -> None:
    pending = {word.lower() for word in retired.pending}
    assert [str(use) for use in found if use.word.lower() not in pending] == []


def test_a_pending_word_that_is_gone_is_enforced(retired: Retired, found: list[Use]) -> None:
    used = {use.word.lower() for use in found}
    assert [word for word in retired.pending if word.lower() not in used] == []


def test_the_list_has_no_entry_twice(retired: Retired) -> None:
    for entries in (retired.identifiers, retired.names, retired.words, retired.allowed):
        assert len(entries) == len(set(entries))


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("app/a.py", "# Ring the Bell.\n", "Bell"),
        ("docs/a.md", "It is put\noff.\n", "put off"),
        ("app/a.py", "# It is put\n# off.\n", "put off"),
        ("app/a.py", "class KeyOrder: ...\n", "KeyOrder"),
        ("app/a.py", "the_floor = 1\n", "floor"),
        ("app/a.py", "class WorkFloor: ...\n", "floor"),
    ],
)
def test_a_retired_word_is_found(path: str, text: str, word: str) -> None:
    assert [use.word for use in uses_in(path, text, EXAMPLE)] == [word]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/a.py", "# Label, bellow.\n"),
        ("app/a.py", "class KeyOrders: ...\n"),
        ("app/a.py", "# rounds to the floor\nflooring = 1\n"),
        ("docs/a.md", "The Liberty Bell.\n"),
    ],
)
def test_other_words_are_not(path: str, text: str) -> None:
    assert list(uses_in(path, text, EXAMPLE)) == []
