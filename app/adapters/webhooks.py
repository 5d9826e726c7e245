"""The caller of webhooks: one POST to an address that may be called."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, IPv6Network

import httpx

from app.adapters.names import Address, Names
from app.config import Network, Settings
from app.errors import WebhookFailed

TIMEOUT_S = 15.0
"""Of the whole call, as the Standard Webhooks specification recommends (15 to 30 s)."""

SCHEMES = ("http", "https")

EMBEDDED = (IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16"))
"""Addresses that lead to an IPv4 address inside them (RFC 6052, RFC 3056)."""


class HttpWebhooks:
    """Posts to addresses on the public internet, and in the networks that are allowed.

    A name is resolved once and what was found is what is connected to: its
    owner cannot point it elsewhere between the check and the call. Redirects
    are not followed, proxies of the environment not used.
    """

    def __init__(self, client: httpx.AsyncClient, allowed: Sequence[Network]) -> None:
        self._client = client
        self._allowed = allowed
        self._names = Names()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status of the answer, whatever it is; its body is not read.

        Raises:
            WebhookFailed: there is no answer in time, or the address may not be called.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._post(httpx.URL(url), headers, body)
        except TimeoutError as error:
            raise WebhookFailed("There was no answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise WebhookFailed(f"The call failed: {type(error).__name__}.") from error

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> int:
        address = await self._address(url)
        request = self._client.build_request(
            "POST",
            url.copy_with(host=str(address)),
            headers={**headers, "Host": url.netloc.decode("ascii")},
            content=body,
            extensions={"sni_hostname": url.host},
        )
        answer = await self._client.send(request, stream=True)
        await answer.aclose()
        return answer.status_code

    async def _address(self, url: httpx.URL) -> Address:
        """Return the address to connect to.

        Raises:
            WebhookFailed: the name leads to an address that may not be called.
        """
        if url.scheme not in SCHEMES or url.userinfo:
            raise WebhookFailed("The address is no plain http or https address.")
        addresses = await self._names.addresses(url.host)
        if not all(self._may_call(address, url.scheme) for address in addresses):
            raise WebhookFailed("The address is private, or not https: it is not called.")
        return addresses[0]

    def _may_call(self, address: Address, scheme: str) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._allowed):
            return True
        is_embedded = any(address in network for network in EMBEDDED)
        is_public = address.is_global and not address.is_multicast and not is_embedded
        return is_public and scheme == "https"


@asynccontextmanager
async def open_webhooks(settings: Settings) -> AsyncIterator[HttpWebhooks]:
    """Open the caller; connections are not kept between calls.

    Whom to trust is the environment's to say all the same (``SSL_CERT_FILE``,
    ``SSL_CERT_DIR``), as for the key server and the mail server.
    """
    async with httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        follow_redirects=False,
        trust_env=False,
        timeout=TIMEOUT_S,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "audience-export"},
    ) as client:
        yield HttpWebhooks(client, settings.webhook_allowed_networks)
