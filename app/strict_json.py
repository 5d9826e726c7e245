"""``json.loads`` with stricter rules: no duplicate keys, no NaN or Infinity, only UTF-8."""

import json
from typing import Any


def loads(text: bytes) -> Any:
    """Return the value of ``text``, which is UTF-8.

    Raises:
        json.JSONDecodeError: it is not valid JSON by these rules, or nested too deeply.
    """
    try:
        return json.loads(
            # Given bytes, `json.loads` would accept UTF-16 and UTF-32.
            text.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
        )
    # Before ValueError, its base: it has the position already.
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("not UTF-8", "", error.start) from error
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("duplicate key")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
