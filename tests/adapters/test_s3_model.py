"""botocore's descriptions: complete, without their prose."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader

from app.adapters.s3_model import MANUAL, ModelFiles


def texts(described: Any) -> Iterator[str]:
    """Yield every text that documents something."""
    if isinstance(described, dict):
        if isinstance(described.get(MANUAL), str):
            yield described[MANUAL]
        for value in described.values():
            yield from texts(value)
    elif isinstance(described, list):
        for value in described:
            yield from texts(value)


def silent(described: Any) -> Any:
    """Return the same with empty documentation."""
    if isinstance(described, dict):
        return {
            name: "" if name == MANUAL and isinstance(value, str) else silent(value)
            for name, value in described.items()
        }
    return [silent(value) for value in described] if isinstance(described, list) else described


@pytest.mark.parametrize("kind", ["service-2", "paginators-1"])
def test_nothing_but_the_prose_is_missing(kind: str) -> None:
    whole = Loader().load_service_model("s3", kind)
    lean = Loader(file_loader=ModelFiles()).load_service_model("s3", kind)
    assert lean == silent(whole)
    assert not any(texts(lean))


def test_a_file_that_is_not_there_is_nothing() -> None:
    assert ModelFiles().load_file("no/such/file") is None
