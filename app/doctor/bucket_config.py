"""The bucket's configuration: lifecycle, public access, versions, object lock."""

import asyncio

from app.adapters.s3.inspection import BucketInspection
from app.adapters.s3.lifecycle import ADVICE
from app.doctor.findings import CheckResult, ok, warning
from app.errors import ServiceError


async def check(inspection: BucketInspection) -> list[CheckResult]:
    """Return the findings about the bucket's configuration.

    Many stores do not report everything, or not to these credentials: that is
    a warning where it matters.
    """
    steps = _lifecycle(inspection), _public(inspection), _versions(inspection), _lock(inspection)
    return [*await asyncio.gather(*steps)]


async def _lifecycle(inspection: BucketInspection) -> CheckResult:
    name = "bucket.lifecycle"
    try:
        problems = await inspection.lifecycle_problems()
    except ServiceError as error:
        return warning(name, str(error), "make sure that leftover objects under S3_PREFIX expire")
    if not problems:
        return ok(name, "The lifecycle rule is set, and no rule deletes files early.")
    details, advice = zip(*(problem.split(": ", 1) for problem in problems), strict=True)
    return warning(name, f"{'; '.join(details)}.", "; ".join(dict.fromkeys(advice)) or ADVICE)


async def _public(inspection: BucketInspection) -> CheckResult:
    name = "bucket.public"
    advice = "block all public access, or make sure that no policy or ACL allows it"
    try:
        blocked = await inspection.blocks_public_access()
    except ServiceError:
        return warning(name, "The store does not report whether public access is blocked.", advice)
    if not blocked:
        return warning(name, "Public access to the bucket is not blocked.", advice)
    return ok(name, "Public access is blocked.")


async def _versions(inspection: BucketInspection) -> CheckResult:
    name = "bucket.versions"
    try:
        versioned = await inspection.is_versioned()
    except ServiceError:
        return ok(name, "The store does not report whether versioning is on.")
    if versioned:
        return ok(name, "Versioning is on; the service deletes every version of a file.")
    return ok(name, "Versioning is off.")


async def _lock(inspection: BucketInspection) -> CheckResult:
    name = "bucket.lock"
    try:
        locked = await inspection.has_default_retention()
    except ServiceError:
        return ok(name, "The store does not report whether object lock is on.")
    if locked:
        advice = "remove the default retention, or use another bucket"
        return warning(name, "New objects are locked: files cannot be deleted in time.", advice)
    return ok(name, "New objects are not locked.")
