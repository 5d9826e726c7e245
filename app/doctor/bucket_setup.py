"""How the bucket is set up: lifecycle, public access, versions, locks."""

import asyncio

from app.adapters.lifecycle import ADVICE
from app.adapters.s3_inspection import BucketInspection
from app.doctor.findings import Finding, ok, warning
from app.errors import ServiceError


async def examine(inspection: BucketInspection) -> list[Finding]:
    """Return what is to be said of the bucket's configuration.

    Many stores do not tell everything, or not to these credentials: that is
    a warning where it matters.
    """
    steps = _lifecycle(inspection), _public(inspection), _versions(inspection), _lock(inspection)
    return [*await asyncio.gather(*steps)]


async def _lifecycle(inspection: BucketInspection) -> Finding:
    check = "bucket.lifecycle"
    try:
        problems = await inspection.lifecycle_problems()
    except ServiceError as error:
        return warning(check, str(error), "see that leftovers under S3_PREFIX expire")
    if not problems:
        return ok(check, "The lifecycle rule is there, and nobody's takes files early.")
    details, advice = zip(*(problem.split(": ", 1) for problem in problems), strict=True)
    return warning(check, "; ".join(details), "; ".join(dict.fromkeys(advice)) or ADVICE)


async def _public(inspection: BucketInspection) -> Finding:
    check = "bucket.public"
    advice = "block all public access to it, or see that no policy and no ACL opens it"
    try:
        blocked = await inspection.blocks_public_access()
    except ServiceError:
        return warning(check, "The store does not tell whether the public is kept out.", advice)
    if not blocked:
        return warning(check, "Public access to the bucket is not blocked.", advice)
    return ok(check, "Public access is blocked.")


async def _versions(inspection: BucketInspection) -> Finding:
    check = "bucket.versions"
    try:
        versioned = await inspection.keeps_versions()
    except ServiceError:
        return ok(check, "The store does not tell whether it keeps versions.")
    if versioned:
        return ok(check, "Versions are kept; the service erases every one of a file.")
    return ok(check, "No versions are kept.")


async def _lock(inspection: BucketInspection) -> Finding:
    check = "bucket.lock"
    try:
        locked = await inspection.locks_by_default()
    except ServiceError:
        return ok(check, "The store does not tell of object locks.")
    if locked:
        advice = "take the default retention away, or use another bucket"
        return warning(check, "New objects are locked: files cannot be erased in time.", advice)
    return ok(check, "New objects are not locked.")
