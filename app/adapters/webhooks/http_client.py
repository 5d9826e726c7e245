"""The webhook client: one POST to a permitted address, safe against SSRF."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv6Address, IPv6Network, ip_address

import httpx

from app.adapters.webhooks.resolver import Address, DnsResolver, Resolve, resolve_host
from app.config import PORT_MAX, Network, Settings
from app.errors import RequestInvalid, WebhookFailed
from app.tls_errors import connection_failure

TIMEOUT_S = 30.0
"""Limit of the whole call; the Standard Webhooks specification recommends 15 to 30 s."""

CONNECT_TIMEOUT_S = 3.0
"""Limit of connecting to one of several addresses: a broken IPv6 route must not use it all up."""

SCHEMES = ("http", "https")

NAME = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")

EMBEDDED = (IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16"))
"""IPv6 addresses with an IPv4 address embedded: NAT64 (RFC 6052) and 6to4 (RFC 3056)."""


class HttpWebhookClient:
    """Posts to addresses on the public internet and in the ``allowed`` networks.

    A host name is resolved once per call, and the connection goes to the
    address that was checked: DNS rebinding cannot redirect it. The permitted
    addresses are tried in turn; the last one that answered goes first in the
    next call. Redirects are not followed, and proxies from the environment are
    not used, since both would bypass the check.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        allowed: Sequence[Network],
        resolver: DnsResolver | None = None,
    ) -> None:
        self._client = client
        self._allowed = allowed
        self._resolver = resolver or DnsResolver()
        self._last_answered: dict[str, Address] = {}
        """By host, the address that answered last."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the response's status, error statuses included; its body is not read.

        An address that fails after it received the request may have processed
        it, and the next address gets the same request: receivers recognise
        duplicates by their ``webhook-id``.

        Raises:
            WebhookFailed: there was no response in time, or no address is permitted.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S) as limit:
                return await self._post(httpx.URL(url), headers, body, limit)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise WebhookFailed("The endpoint did not respond in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            cause = connection_failure(error) or type(error).__name__
            raise WebhookFailed(f"The call failed: {cause}.") from error

    async def _post(
        self, url: httpx.URL, headers: Mapping[str, str], body: bytes, limit: asyncio.Timeout
    ) -> int:
        """Try the addresses in turn; each but the last gets half of the remaining time."""
        *others, last = await self._addresses(url)
        for address in others:
            remaining_s = (limit.when() or 0) - asyncio.get_running_loop().time()
            with suppress(TimeoutError, httpx.HTTPError, OSError):
                async with asyncio.timeout(remaining_s / 2):
                    return await self._post_to(address, url, headers, body, CONNECT_TIMEOUT_S)
        return await self._post_to(last, url, headers, body, TIMEOUT_S)

    async def _post_to(
        self,
        address: Address,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        connect_timeout_s: float,
    ) -> int:
        request = self._client.build_request(
            "POST",
            url.copy_with(host=str(address)),
            # netloc, not host: Host includes a port that is not the default.
            headers={**headers, "Host": url.netloc.decode("ascii")},
            content=body,
            # TLS names and verifies the host, although the connection goes to an address.
            extensions={"sni_hostname": url.host},
            timeout=httpx.Timeout(TIMEOUT_S, connect=connect_timeout_s),
        )
        # Without stream=True httpx would read the body, which may have no end.
        response = await self._client.send(request, stream=True)
        await response.aclose()
        self._last_answered[url.host] = address
        return response.status_code

    async def _addresses(self, url: httpx.URL) -> list[Address]:
        """Return the permitted addresses of the host, the one that answered last first.

        Raises:
            WebhookFailed: no address of the host is permitted.
        """
        if url.scheme not in SCHEMES or url.userinfo:
            raise WebhookFailed("The URL must be a plain http or https URL, without a login.")
        resolved = dict.fromkeys(await self._resolver.addresses(url.host))
        permitted = [
            address for address in resolved if may_call(address, url.scheme, self._allowed)
        ]
        if not permitted:
            raise WebhookFailed(
                "The URL is not https or leads to a private network: use a public https "
                "address, or allow its network in WEBHOOK_ALLOWED_NETWORKS."
            )
        # A stable sort: the others stay in the system's order of preference.
        return sorted(permitted, key=lambda address: address != self._last_answered.get(url.host))


def may_call(address: Address, scheme: str, allowed: Sequence[Network]) -> bool:
    """Return whether an address may be called: public over https, or in an allowed network."""
    # First of all: an allowed network 10.0.0.0/8 does not contain ::ffff:10.0.0.1.
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    is_embedded = any(address in network for network in EMBEDDED)
    # Multicast is checked as well: is_global is true for it.
    is_public = address.is_global and not address.is_multicast and not is_embedded
    return is_public and scheme == "https"


def check_url(url: str, allowed: Sequence[Network], resolve: Resolve = resolve_host) -> None:
    """Refuse an address that could never be called; a name is looked up where networks decide.

    Raises:
        RequestInvalid: it could not.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise RequestInvalid("url", "This is no address.") from error
    if parsed.scheme not in SCHEMES or not parsed.host or url != url.strip():
        raise RequestInvalid("url", "An address looks like https://host/path.")
    if parsed.userinfo:
        raise RequestInvalid("url", "An address must not hold a user or a password.")
    if parsed.port is not None and not 0 < parsed.port <= PORT_MAX:
        raise RequestInvalid("url", f"A port is a number from 1 to {PORT_MAX}.")
    if not _may_call_host(parsed, allowed, resolve):
        raise RequestInvalid(
            "url", "It is not https, or private, and no network of WEBHOOK_ALLOWED_NETWORKS."
        )


def _may_call_host(url: httpx.URL, allowed: Sequence[Network], resolve: Resolve) -> bool:
    """Return whether a URL's host may be called.

    Raises:
        RequestInvalid: it is neither an IP address nor a name.
    """
    with suppress(ValueError):
        return may_call(ip_address(url.host), url.scheme, allowed)
    if NAME.fullmatch(url.raw_host) is None:
        raise RequestInvalid("url", "Its host is no name.")
    if url.scheme == "https" and not is_loopback_name(url.host):
        return True
    try:
        found = resolve(url.host) if allowed else []
    except (OSError, UnicodeError):
        return False
    return any(may_call(ip_address(each), url.scheme, allowed) for each in found)


def is_loopback_name(host: str) -> bool:
    """Return whether a name leads to this machine alone (RFC 6761, section 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


@asynccontextmanager
async def open_webhooks(settings: Settings) -> AsyncIterator[HttpWebhookClient]:
    """Yield the client; connections are not reused between calls.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` still decide which certificates are
    trusted, as for the JWKS server and the mail server.
    """
    async with httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        follow_redirects=False,
        trust_env=False,  # an HTTP(S)_PROXY would connect to addresses that were not checked
        timeout=TIMEOUT_S,
        # Connections are pooled by address: one whose certificate was verified for another
        # host at this address would be reused.
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "audience-export"},
    ) as client:
        yield HttpWebhookClient(client, settings.webhook_allowed_networks)
