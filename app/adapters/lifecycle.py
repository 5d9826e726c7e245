"""The bucket's lifecycle rule: the store's own net below the sweep's."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from app.adapters.s3_client import open_clients
from app.adapters.s3_errors import storage_errors
from app.config import Settings
from app.errors import SettingsInvalid

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Rule = dict[str, Any]
"""As S3's API has it: ``ID``, ``Status``, ``Filter`` and actions."""

CALL_TIMEOUT_S = 60.0
DAY_S = 86_400
UPLOAD_DAYS = 1
VERSION_DAYS = 1

ADVICE = "run: audience-export bucket setup"


class BucketLifecycle:
    """Sets up one rule for the files under a prefix, and reads it back.

    A lifecycle configuration is read and written whole, and without a lock:
    two who change it at the same moment overwrite each other.
    """

    def __init__(self, client: "S3Client", bucket: str, prefix: str, lifetime_s: int) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._lifetime_s = lifetime_s
        self.rule = files_rule(prefix, lifetime_s)

    async def set_up(self) -> int:
        """Write the rule, keep those of others, and return how many these are.

        Raises:
            StorageUnavailable: try again.
            StorageRefused: the bucket is missing, access is denied, or the
                store knows no such rules.
        """
        current = await self._read()
        others = [rule for rule in current.get("Rules", []) if not self._is_ours(rule)]
        kept = {name: value for name, value in current.items() if name in KEPT}
        async with storage_errors(CALL_TIMEOUT_S):
            await self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket,
                LifecycleConfiguration={"Rules": [*others, self.rule]},  # type: ignore[list-item]  # plain dicts
                **kept,
            )
        return len(others)

    async def problems(self) -> list[str]:
        """Return what is wrong with the rules, a sentence each.

        Raises:
            StorageUnavailable, StorageRefused: they cannot be read.
        """
        rules = (await self._read()).get("Rules", [])
        found = [self._early(rule) for rule in rules if not self._is_ours(rule)]
        return [*self._own_problems(rules), *filter(None, found)]

    def _own_problems(self, rules: list[Rule]) -> list[str]:
        ours = [rule for rule in rules if self._is_ours(rule)]
        if not ours:
            return [f"No lifecycle rule expires what is left under {self._prefix}: {ADVICE}"]
        if ours != [self.rule]:
            return [f"The lifecycle rule for {self._prefix} is not as it should be: {ADVICE}"]
        return []

    def _early(self, rule: Rule) -> str | None:
        """Return what is wrong with another's rule that takes files before their links end."""
        if rule.get("Status") != "Enabled" or not self._concerns_us(rule):
            return None
        expiration = rule.get("Expiration", {})
        days = expiration.get("Days")
        if "Date" not in expiration and (days is None or days * DAY_S >= self._lifetime_s):
            return None
        return (
            f"The lifecycle rule {rule.get('ID', '')!r} takes files under {self._prefix} "
            "before their links end: narrow its filter"
        )

    def _concerns_us(self, rule: Rule) -> bool:
        """Whether the rule may hold for our files, which have no tags."""
        conditions = rule.get("Filter", {})
        conditions = conditions.get("And", conditions)
        if "Tag" in conditions or conditions.get("Tags"):
            return False
        prefix: str = conditions.get("Prefix", rule.get("Prefix", ""))
        return prefix.startswith(self._prefix) or self._prefix.startswith(prefix)

    def _is_ours(self, rule: Rule) -> bool:
        return bool(rule.get("ID") == self.rule["ID"])

    async def _read(self) -> dict[str, Any]:
        async with storage_errors(CALL_TIMEOUT_S):
            try:
                return dict(
                    await self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchLifecycleConfiguration":
                    raise
        return {}


KEPT = {"TransitionDefaultMinimumObjectSize"}
"""What belongs to the configuration beside its rules."""


def files_rule(prefix: str, lifetime_s: int) -> Rule:
    """Return the rule for files under ``prefix`` whose links live ``lifetime_s`` seconds.

    Files expire a day after their links, rounded up to days. In a bucket with
    versions that only hides them, so hidden versions go a day later. Uploads
    that nobody completed or aborted go after a day.
    """
    return {
        "ID": f"audience-export files under {prefix}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": math.ceil(lifetime_s / DAY_S) + 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": VERSION_DAYS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }


@asynccontextmanager
async def open_lifecycle(settings: Settings) -> AsyncIterator[BucketLifecycle]:
    """Yield the lifecycle of the settings' bucket; the store need not be up.

    Raises:
        SettingsInvalid: ``S3_PREFIX`` is no folder, so that the rule would hold
            for other objects whose keys begin alike.
    """
    async with open_clients(settings) as (client, _):
        yield lifecycle_of(client, settings)


def lifecycle_of(client: "S3Client", settings: Settings) -> BucketLifecycle:
    """Return the lifecycle of the settings' bucket by a client that is open.

    Raises:
        SettingsInvalid: as :func:`open_lifecycle`.
    """
    if not settings.s3_prefix.endswith("/"):
        raise SettingsInvalid("S3_PREFIX must end with a slash for a lifecycle rule to be safe.")
    return BucketLifecycle(client, settings.s3_bucket, settings.s3_prefix, settings.link_lifetime_s)
