"""The bucket's region, as the store says it where the settings say another.

botocore follows a redirect to the right region, and signs links for it only
after it was redirected: never in a process that has not asked the store yet.
"""

import time
from typing import Any

RETRY_S = 60.0


class BucketRegion:
    """Learns from the answers of one client and signs by what it learned."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._is_learned = False
        # Not 0: the monotonic clock may begin there, and the first request would be skipped.
        self._tried_at = -RETRY_S

    def must_ask(self) -> bool:
        """Return whether to ask now: the store has answered nothing, nor was it asked lately."""
        if self._is_learned or time.monotonic() - self._tried_at < RETRY_S:
            return False
        self._tried_at = time.monotonic()
        return True

    def watch(self, events: Any) -> None:
        """Learn from the answers to a client, given its events."""
        events.register_first("needs-retry.s3", self._learn)

    def guide(self, events: Any) -> None:
        """Let a client use the learned region, given its events."""
        events.register_last("before-endpoint-resolution.s3", self._apply)

    def _learn(self, response: Any = None, **_: object) -> None:
        if response is None:
            return
        self._is_learned = True
        metadata = response[1].get("ResponseMetadata", {})
        named = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        named = named or response[1].get("Error", {}).get("Region")
        if named and metadata.get("HTTPStatusCode", 0) >= 300:
            self._name = named

    def _apply(self, builtins: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        if self._name is not None:
            builtins["AWS::Region"] = self._name
            # botocore ignores the resolved region where it signs a link.
            context.setdefault("signing", {})["region"] = self._name
