"""The bucket's lifecycle rule: deletes leftover files even if the service's cleanup does not."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from app.adapters.s3.client import open_clients
from app.adapters.s3.errors import storage_errors
from app.config import Settings
from app.errors import SettingsInvalid

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Rule = dict[str, Any]
"""A rule as S3's API defines it: ``ID``, ``Status``, ``Filter`` and actions."""

CALL_TIMEOUT_S = 60.0
DAY_S = 86_400
UPLOAD_DAYS = 1
VERSION_DAYS = 1

ADVICE = "run: audience-export bucket setup"


class BucketLifecycle:
    """Sets up and checks the rule for the files under ``prefix``.

    S3 reads and writes a lifecycle configuration as a whole, without a lock:
    of two concurrent changes one is lost.
    """

    def __init__(self, client: "S3Client", bucket: str, prefix: str, lifetime_s: int) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._lifetime_s = lifetime_s
        self.rule = export_files_rule(prefix, lifetime_s)

    async def set_up(self) -> int:
        """Write our rule, preserve all others, and return the number of others.

        Raises:
            StorageUnavailable: try again.
            StorageRefused: the bucket is missing, access is denied, or the
                store does not support the rule.
        """
        current = await self._read()
        others = [rule for rule in current.get("Rules", []) if not self._is_ours(rule)]
        preserved = {name: value for name, value in current.items() if name in OTHER_FIELDS}
        async with storage_errors(CALL_TIMEOUT_S):
            await self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket,
                LifecycleConfiguration={"Rules": [*others, self.rule]},  # type: ignore[list-item]  # plain dicts
                **preserved,
            )
        return len(others)

    async def problems(self) -> list[str]:
        """Return what is wrong with the bucket's rules, one sentence each.

        Raises:
            StorageUnavailable, StorageRefused: the rules cannot be read.
        """
        rules = (await self._read()).get("Rules", [])
        early = [self._early_expiration(rule) for rule in rules if not self._is_ours(rule)]
        return [*self._own_problems(rules), *filter(None, early)]

    def _own_problems(self, rules: list[Rule]) -> list[str]:
        ours = [rule for rule in rules if self._is_ours(rule)]
        if not ours:
            return [f"No lifecycle rule expires what is left under {self._prefix}: {ADVICE}"]
        if not any(map(self._is_sufficient, ours)):
            return [f"The lifecycle rule for {self._prefix} differs from the expected: {ADVICE}"]
        return []

    def _early_expiration(self, rule: Rule) -> str | None:
        """Return the problem with another rule that deletes files before their links expire."""
        if rule.get("Status") != "Enabled" or not self._may_match(rule):
            return None
        expiration = rule.get("Expiration", {})
        days = expiration.get("Days")
        if "Date" not in expiration and (days is None or days * DAY_S >= self._lifetime_s):
            return None
        return (
            f"The lifecycle rule {rule.get('ID', '')!r} deletes files under {self._prefix} "
            "before their links expire: narrow its filter"
        )

    def _may_match(self, rule: Rule) -> bool:
        """Return whether the rule's filter may match our files, which have no tags."""
        conditions = rule.get("Filter", {})
        conditions = conditions.get("And", conditions)
        if "Tag" in conditions or conditions.get("Tags"):
            return False
        prefix = _prefix(rule)
        return prefix.startswith(self._prefix) or self._prefix.startswith(prefix)

    def _is_sufficient(self, rule: Rule) -> bool:
        """Whether files under the prefix end by it, and not before their links.

        Stores leave out what they have no such thing for, versions or unfinished
        uploads, and write a filter in their own way.
        """
        days = rule.get("Expiration", {}).get("Days", 0)
        wanted = self.rule["Expiration"]["Days"]
        versions = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", VERSION_DAYS)
        uploads = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        return (
            rule.get("Status") == "Enabled"
            and _prefix(rule) == self._prefix
            and days == wanted
            and versions == VERSION_DAYS
            and uploads in (None, UPLOAD_DAYS)
        )

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


def _prefix(rule: Rule) -> str:
    """Return the prefix that a rule applies to, which S3 has three ways to name."""
    conditions = rule.get("Filter", {})
    conditions = conditions.get("And", conditions)
    return str(conditions.get("Prefix", rule.get("Prefix", "")))


OTHER_FIELDS = {"TransitionDefaultMinimumObjectSize"}
"""Fields of the configuration beside its rules, which writing it must preserve."""


def export_files_rule(prefix: str, lifetime_s: int) -> Rule:
    """Return the rule for files under ``prefix`` whose links are valid for ``lifetime_s`` seconds.

    Files expire a day after their links, rounded up to whole days. In a
    versioned bucket this only hides them, so noncurrent versions are deleted a
    day later. Incomplete multipart uploads are aborted after a day.
    """
    return {
        # Identifies our rule: after a change of this text the old rule would stay beside it.
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
        SettingsInvalid: ``S3_PREFIX`` does not end with a slash, so that the rule
            would also match other keys that begin with it.
    """
    async with open_clients(settings) as (client, _):
        yield lifecycle_for_client(client, settings)


def lifecycle_for_client(client: "S3Client", settings: Settings) -> BucketLifecycle:
    """Return the lifecycle of the settings' bucket, on an open client.

    Raises:
        SettingsInvalid: as :func:`open_lifecycle`.
    """
    if not settings.s3_prefix.endswith("/"):
        raise SettingsInvalid("S3_PREFIX must end with a slash: the lifecycle rule needs a folder.")
    return BucketLifecycle(client, settings.s3_bucket, settings.s3_prefix, settings.link_lifetime_s)
