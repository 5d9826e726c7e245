"""Pages for people whose browser shows an error: of a mailed link, and of the statistics."""

import shlex
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.api.accept import prefers_html
from app.exports.delivery.mail_content import brand_name
from app.i18n.catalogue import text
from app.i18n.locales import accepted_locale

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; padding: 12vh 20px 40px; background: #f3f4f6; color: #1f2329;
  font: 17px/1.55 system-ui, sans-serif; }
main { max-width: 34em; margin: auto; overflow-wrap: anywhere; }
h1 { margin: 0 0 16px; font-size: 26px; line-height: 1.25; }
pre { padding: 12px 14px; background: #e7e9ee; font-size: 15px; white-space: pre-wrap; }
small { display: block; margin: 0 0 12px; font-size: 15px; font-weight: 600; color: #59616d; }
@media (prefers-color-scheme: dark) {
  body { background: #16181d; color: #e8eaed; }
  small { color: #a9afb8; }
  pre { background: #24272e; }
}
"""

# The policy has the hash of STYLE: nothing may be added between the style tags.
PAGE = """<!doctype html>
<html lang="{locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{brand}<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

ERROR_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Language",
}

KINDS = {HTTPStatus.NOT_FOUND: "unknown", HTTPStatus.GONE: "gone"}
"""Which texts a status has; those of any other are about a service that is unavailable."""


STATISTICS_KINDS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""The errors of ``/stats`` that have a page; it is in English, as the statistics are."""

STATISTICS_TITLE = "The statistics need an operator's token"

STATISTICS_TEXT = """<p>{detail}</p>
<p>A browser sends no token by itself. Use one of these:</p>
<ul>
<li>On a machine of this service, print the statistics, or write this page to a file:
<pre><code>audience-export stats
audience-export stats --html stats.html</code></pre></li>
<li>With a token that has the scope <code>sellers:all</code> and no <code>seller_id</code>:
<pre><code>curl -H "Authorization: Bearer $TOKEN" -H "Accept: text/html" \\
  -o stats.html {url}</code></pre></li>
<li>For good: put a proxy in front of this address that signs operators in and adds the header.</li>
</ul>"""


def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> HTMLResponse | None:
    """Return the page for a person's browser; ``None`` for a program, and for other addresses.

    ``detail`` says what is wrong, for operators; sellers are told in their language.
    """
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if not prefers_html(request.headers.get("accept", "")):
        return None
    if path.startswith("/d/"):
        return _link_page(request, status, headers or {})
    if path == "/stats" and status in STATISTICS_KINDS:
        return _statistics_page(request, status, detail, headers or {})
    return None


def _statistics_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str]
) -> HTMLResponse:
    """Return the page that says how an operator gets to the statistics."""
    # Without the query: a link from somebody else must not write part of a command.
    url = shlex.quote(f"{request.base_url}stats")
    said = STATISTICS_TEXT.format(detail=escape(detail), url=escape(url))
    body = _page("en", STATISTICS_TITLE, said)
    return HTMLResponse(body, status, {**ERROR_PAGE_HEADERS, "Vary": "Accept", **headers})


def _page(locale: str, title: str, content: str, brand: str = "") -> str:
    return PAGE.format(
        locale=locale,
        title=escape(title),
        style=STYLE,
        brand=f"<small>{escape(brand)}</small>\n" if brand else "",
        content=content,
    )


def _link_page(request: Request, status: int, headers: Mapping[str, str]) -> HTMLResponse:
    """Return the page that says why a mailed link leads to no file, and how to get one."""
    locale = accepted_locale(request.headers.get("accept-language", ""))
    kind = KINDS.get(HTTPStatus(status), "unavailable")
    said = [text(locale, f"pages.{kind}.text")]
    if kind != "unavailable":
        said.append(text(locale, "pages.way_on"))
    body = _page(
        locale,
        text(locale, f"pages.{kind}.title"),
        "\n".join(f"<p>{escape(each)}</p>" for each in said),
        brand_name(request.app.state.resources.settings),
    )
    return HTMLResponse(body, status, {**ERROR_PAGE_HEADERS, "Content-Language": locale, **headers})
