"""Limit the size of an object store's responses; aiobotocore reads them without a limit."""

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Enough for a page of 1,000 objects with keys of 1,024 bytes. Files are never read this way."""


class BoundedResponse(aiohttp.ClientResponse):
    """A response that raises when its body exceeds ``ANSWER_BYTES_MAX``."""

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            ClientPayloadError: the body is too long, or incomplete.
        """
        if self._body is None:
            try:
                self._body = await self._read_bounded()
            except BaseException:
                self.close()
                raise
        return await super().read()

    async def _read_bounded(self) -> bytes:
        body = bytearray()
        async for piece in self.content.iter_any():
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                raise aiohttp.ClientPayloadError(f"the response exceeds {ANSWER_BYTES_MAX} bytes")
        return bytes(body)


class BoundedSession(AIOHTTPSession):
    """aiobotocore's HTTP session with :class:`BoundedResponse`."""

    async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        session: Any = await super()._get_session(proxy_url)  # type: ignore[misc]  # unknown to its types
        session._response_class = BoundedResponse
        return session  # type: ignore[no-any-return]  # as above
