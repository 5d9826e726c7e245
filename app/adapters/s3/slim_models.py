"""botocore's service models without their documentation, and the regions of few services.

Their weight is worth it: 9 MB less in each process, 0.3 ms less for each small object.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aioboto3  # type: ignore[import-untyped]  # it brings no types
from aiobotocore.session import get_session
from botocore.loaders import JSONFileLoader

DOCUMENTATION = "documentation"

SERVICES = "services"
REGION_PATTERN = "regionRegex"
"""Only a partition, AWS itself or AWS in China, has this beside its services."""

USED_SERVICES = frozenset({"s3", "sts", "sso", "portal.sso", "oidc", "signin"})
"""The store, and those that boto's credential chain may call."""

CONTEXT = "contextParam"
KEY = {"name": "Key"}
"""Marks the object's key as an input of botocore's endpoint rules.

No rule uses it, but botocore caches the result of its rules by all their
inputs, and so evaluates them again for every key: a third of the processor
time of a small upload.
"""


class SlimModelLoader(JSONFileLoader):
    """Loads botocore's JSON files as plain dictionaries, without what this service never reads."""

    def load_file(self, file_path: str) -> Any:
        """Return the content of a file; its name has no suffix. ``None`` where there is none."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return parse_slim(plain.read_bytes())
        if packed.is_file():
            return parse_slim(gzip.decompress(packed.read_bytes()))
        return None


def parse_slim(text: bytes) -> Any:
    """Return the parsed JSON without prose, the ``KEY`` mark and services that are not used."""
    return json.loads(text, object_pairs_hook=_slim_object)


def open_session() -> aioboto3.Session:
    """Return a boto session that loads slim models."""
    session = get_session()
    session.get_component("data_loader").file_loader = SlimModelLoader()
    return aioboto3.Session(botocore_session=session)


def _slim_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    slim = dict(pairs)
    if isinstance(slim.get(DOCUMENTATION), str):  # a member may be named so too: an object
        slim[DOCUMENTATION] = ""
    if slim.get(CONTEXT) == KEY:
        del slim[CONTEXT]
    if REGION_PATTERN in slim and SERVICES in slim:
        regions: dict[str, Any] = slim[SERVICES]
        slim[SERVICES] = {name: regions[name] for name in regions if name in USED_SERVICES}
    return slim
