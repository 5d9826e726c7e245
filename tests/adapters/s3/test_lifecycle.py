"""The bucket's lifecycle rule: written, read back, and at work on a Ceph whose days are seconds."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from app.adapters.s3.lifecycle import (
    ADVICE,
    BucketLifecycle,
    Rule,
    export_files_rule,
    open_lifecycle,
)
from app.errors import SettingsInvalid, StorageRefused
from devstack.ceph import CephServer
from devstack.s3 import Store
from tests.adapters.settings import settings_for, settings_with
from tests.conftest import use
from tests.polling import until

WEEK_S = 604_800

THEIRS: Rule = {
    "ID": "logs",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 1},
}


@pytest.fixture
async def lifecycle(s3_store: Store) -> AsyncIterator[BucketLifecycle]:
    """The lifecycle of a bucket without rules."""
    async with open_lifecycle(settings_for(s3_store)) as lifecycle:
        yield lifecycle


def rules(store: Store) -> list[Rule]:
    """Return the rules that the store itself returns."""
    with store.client() as client:
        answer = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)
    found: list[Rule] = answer["Rules"]
    return found


def write(store: Store, *written: Rule) -> None:
    """Write rules as somebody else would."""
    with store.client() as client:
        client.put_bucket_lifecycle_configuration(
            Bucket=store.bucket, LifecycleConfiguration={"Rules": written}
        )


@pytest.mark.parametrize(
    ("lifetime_s", "days"), [(60, 2), (86_400, 2), (86_401, 3), (WEEK_S, 8), (WEEK_S + 1, 9)]
)
def test_files_go_a_day_after_their_links_rounded_up(lifetime_s: int, days: int) -> None:
    assert export_files_rule("exports/", lifetime_s)["Expiration"] == {"Days": days}


async def test_a_bucket_without_rules_gets_one(s3_store: Store, lifecycle: BucketLifecycle) -> None:
    assert await lifecycle.set_up() == 0
    assert [rule["ID"] for rule in rules(s3_store)] == [lifecycle.rule["ID"]]
    assert await lifecycle.problems() == []


async def test_the_rules_of_others_are_kept_and_ours_is_renewed(
    s3_store: Store, lifecycle: BucketLifecycle
) -> None:
    write(s3_store, THEIRS, export_files_rule("exports/", 60), export_files_rule("elsewhere/", 60))
    before = [rule for rule in rules(s3_store) if rule["ID"] != lifecycle.rule["ID"]]
    for _ in range(2):
        assert await lifecycle.set_up() == 2
        now = rules(s3_store)
        assert [rule for rule in now if rule["ID"] != lifecycle.rule["ID"]] == before
        assert len(now) == 3
    assert await lifecycle.problems() == []


async def test_a_missing_rule_is_a_problem(lifecycle: BucketLifecycle) -> None:
    (problem,) = await lifecycle.problems()
    assert problem.startswith("No lifecycle rule")
    assert problem.endswith(ADVICE)


@pytest.mark.parametrize(
    "change",
    [
        {"Status": "Disabled"},
        {"Expiration": {"Days": 7}},
        {"Filter": {"Prefix": "exports/1/"}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_rule_that_somebody_changed_is_a_problem(
    s3_store: Store, lifecycle: BucketLifecycle, change: dict[str, Any]
) -> None:
    write(s3_store, lifecycle.rule | change)
    (problem,) = await lifecycle.problems()
    assert "differs from the expected" in problem


@pytest.mark.parametrize(
    "early",
    [
        {"Filter": {"Prefix": ""}},
        {"Filter": {"Prefix": "exp"}},
        {"Filter": {"Prefix": "exports/1/"}},
        {"Filter": {"Prefix": ""}, "Expiration": {"Days": 6}},
    ],
    ids=lambda early: str(early),
)
async def test_a_rule_of_others_that_takes_files_too_early_is_a_problem(
    s3_store: Store, lifecycle: BucketLifecycle, early: dict[str, Any]
) -> None:
    write(s3_store, THEIRS | early, lifecycle.rule)
    (problem,) = await lifecycle.problems()
    assert "'logs' deletes files under exports/ before their links expire" in problem


@pytest.mark.parametrize(
    "harmless",
    [
        {},
        {"Filter": {"Prefix": ""}, "Expiration": {"Days": 7}},
        {"Filter": {"Prefix": ""}, "Status": "Disabled"},
        {"Filter": {"Tag": {"Key": "temporary", "Value": "yes"}}},
        {"Filter": {"And": {"Prefix": "", "Tags": [{"Key": "temporary", "Value": "yes"}]}}},
    ],
    ids=lambda harmless: str(harmless),
)
async def test_a_rule_of_others_that_does_not_concern_us_is_none(
    s3_store: Store, lifecycle: BucketLifecycle, harmless: dict[str, Any]
) -> None:
    write(s3_store, THEIRS | harmless, lifecycle.rule)
    assert await lifecycle.problems() == []


async def test_a_date_on_which_all_files_go_is_a_problem() -> None:
    lifecycle = BucketLifecycle(None, "none", "exports/", WEEK_S)  # type: ignore[arg-type]  # not called
    early = {"ID": "end", "Status": "Enabled", "Prefix": "", "Expiration": {"Date": "2030-01-01"}}
    assert lifecycle._early_expiration(early) is not None


async def test_a_missing_bucket_is_named_as_what_it_is(moto_store: Store) -> None:
    settings = settings_for(moto_store, s3_bucket="no-such-bucket")
    async with open_lifecycle(settings) as lifecycle:
        with pytest.raises(StorageRefused, match="does not exist"):
            await lifecycle.problems()
        with pytest.raises(StorageRefused, match="does not exist"):
            await lifecycle.set_up()


async def test_a_prefix_that_other_keys_may_share_gets_no_rule() -> None:
    with pytest.raises(SettingsInvalid, match="slash"):
        async with open_lifecycle(settings_with(s3_prefix="exp")):
            pass


@pytest.fixture
def hasty_store(
    ceph_fast_lifecycle: CephServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A bucket on a Ceph on which a day lasts a second: it looks after one bucket at a time."""
    store = use(ceph_fast_lifecycle.store(), monkeypatch)
    yield store
    with store.client() as client:
        client.delete_bucket_lifecycle(Bucket=store.bucket)


@pytest.mark.ceph
@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
async def test_files_and_uploads_go_and_nothing_else_does(
    hasty_store: Store, versioned: bool
) -> None:
    bucket = {"Bucket": hasty_store.bucket}
    with hasty_store.client() as client:
        if versioned:
            client.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
        for key in ("exports/1/file.csv", "exports.txt", "other/file.csv"):
            client.put_object(**bucket, Key=key, Body=b"Email\n")
        for key in ("exports/1/upload.csv", "other/upload.csv"):
            client.create_multipart_upload(**bucket, Key=key)
        settings = settings_for(hasty_store, link_lifetime_s=86_400)
        async with open_lifecycle(settings) as lifecycle:
            await lifecycle.set_up()
            assert await lifecycle.problems() == []

        async def is_cleared() -> bool:
            versions = client.list_object_versions(**bucket, Prefix="exports/")
            uploads = client.list_multipart_uploads(**bucket, Prefix="exports/")
            return "Versions" not in versions and "Uploads" not in uploads

        await until(is_cleared, within_s=60)
        left = client.list_objects_v2(**bucket)["Contents"]
        assert [item["Key"] for item in left] == ["exports.txt", "other/file.csv"]
        uploads = client.list_multipart_uploads(**bucket)["Uploads"]
        assert [upload["Key"] for upload in uploads] == ["other/upload.csv"]
