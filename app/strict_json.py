"""JSON that means one thing only: no repeated name, no NaN, valid UTF-8."""

import json
from typing import Any


def parse(text: bytes) -> Any:
    """Return the value of ``text``.

    Raises:
        json.JSONDecodeError: it is not JSON, or too deep to be meant.
    """
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_repetition,
            parse_constant=_refused,
        )
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("not UTF-8", "", error.start) from error
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name comes twice")
    return names


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not a number")
