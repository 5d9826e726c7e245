"""What botocore knows of S3, without its manual: that would be 5 MB in each process."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aioboto3  # type: ignore[import-untyped]  # it brings no types
from aiobotocore.session import get_session
from botocore.loaders import JSONFileLoader

MANUAL = "documentation"

CONTEXT = "contextParam"
KEY = {"name": "Key"}
"""Marks an object's key as something that addresses may depend on.

No rule asks for it, but botocore remembers the outcome of its rules for each
key by itself, and so goes through them again for each object: a third of the
processor time of a small one.
"""


class ModelFiles(JSONFileLoader):
    """Loads botocore's descriptions of services as plain dictionaries, without their prose."""

    def load_file(self, file_path: str) -> Any:
        """Return what a file holds, named without its ending; ``None`` where there is none."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return without_manual(plain.read_bytes())
        if packed.is_file():
            return without_manual(gzip.decompress(packed.read_bytes()))
        return None


def without_manual(text: bytes) -> Any:
    """Return what JSON describes; where it documents itself, with an empty text; see ``KEY``."""
    return json.loads(text, object_pairs_hook=_described)


def open_session() -> aioboto3.Session:
    """Return a session of boto's that loads its models so."""
    session = get_session()
    session.get_component("data_loader").file_loader = ModelFiles()
    return aioboto3.Session(botocore_session=session)


def _described(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    described = dict(pairs)
    if isinstance(described.get(MANUAL), str):
        described[MANUAL] = ""
    if described.get(CONTEXT) == KEY:
        del described[CONTEXT]
    return described
