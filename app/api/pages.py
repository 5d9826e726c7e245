"""Problems as pages, for people who followed a link in a mail."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<p>{detail}</p>
</body>
</html>
"""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}


def is_for_people(request: Request) -> bool:
    """Return whether a browser has opened a mailed link, and would show our answer."""
    return request.url.path.startswith("/d/") and "text/html" in request.headers.get("accept", "")


def problem_page(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> HTMLResponse:
    """Return a page that says what a problem document would say to a program."""
    body = PAGE.format(title=escape(title), detail=escape(detail))
    return HTMLResponse(body, status, {**HEADERS, **(headers or {})})
