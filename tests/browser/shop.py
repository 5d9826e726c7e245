"""A storefront on its own origin, as strict as browsers let it be."""

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import axe_playwright_python

from tests.tokens import mint

PAGE = """<!doctype html>
<html lang="{lang}" dir="{dir}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Followers</title>
<link rel="icon" href="/icon.svg">
{added}<script type="module" src="{api}/widget.js"></script>
<script type="module" src="/shop.js"></script>
</head>
<body>
<main><h1>Followers</h1><audience-export api="{api}"></audience-export></main>
</body>
</html>
"""

SCRIPT = """
const dialog = document.querySelector("audience-export");
const seller = new URL(location).searchParams.get("seller");
dialog.getToken = async () => (await fetch(`/token?seller=${seller}`)).text();
window.told = [];
for (const name of ["started", "finished", "failed", "cancelled"]) {
  addEventListener(`export-${name}`, ({ detail }) => told.push([name, detail.status]));
}
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  violations.push(`${violatedDirective} ${blockedURI}`));
addEventListener("error", ({ message }) => violations.push(message));
addEventListener("unhandledrejection", ({ reason }) => violations.push(String(reason)));
"""

FRAME = (
    '<!doctype html><title>Frame</title><iframe src="/?{query}" {size} frameborder="0"></iframe>'
)
"""A page with the dialog's in a frame: a window of a driven browser cannot be as narrow."""

FOLDER = Path(__file__).parent

ADDED = {
    "stub": (FOLDER / "stub.js").read_text(),
    "axe": next(Path(axe_playwright_python.__file__).parent.glob("**/axe.min.js")).read_text(),
}
"""Scripts that a page has first, where its address names them."""

ICON = '<svg xmlns="http://www.w3.org/2000/svg"/>'

POLICY = (
    "default-src 'none'; script-src 'self' {api}; connect-src 'self' {api}; img-src 'self'; "
    "style-src {style}; base-uri 'none'; form-action 'none'; frame-ancestors {frame}; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def policy(api: str, query: Mapping[str, str]) -> str:
    """Return the policy of a page: the strictest, but for what its address names."""
    style = "'unsafe-inline'" if "sheets" in query else "'none'"
    frame = "'self'" if "framed" in query else "'none'"
    return POLICY.format(api=api, style=style, frame=frame)


class Shop:
    """The storefront's server: a page with the dialog, and its sellers' tokens.

    ``api_url`` and ``secret`` are the export service's, set before the first
    page is opened. Tokens live ``remaining_lifetime_s``; ``tokens_asked`` counts them,
    ``last_token`` is the last.
    """

    def __init__(self) -> None:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.api_url = ""
        self.secret = ""
        self.lifetime_s = 600.0
        self.tokens_asked = 0
        self.last_token = ""

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.server_address[1]
        return port

    @property
    def origin(self) -> str:
        """The origin that the service knows."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_origin(self) -> str:
        """The same pages on an origin that the service does not know."""
        return f"http://localhost:{self.port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(self, seller_id: int) -> str:
        """Return a token of a seller, as the page gets it."""
        return mint(
            self.secret,
            seller_id=seller_id,
            email=f"seller{seller_id}@example.com",
            exp=time.time() + self.lifetime_s,
        )

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        kind, body = "text/html", ""
        match url.path:
            case "/":
                words = {"lang": "en", "dir": "ltr"} | query
                tags = [
                    f'<script src="/added/{name}"></script>\n' for name in ADDED if name in query
                ]
                body = PAGE.format(
                    api=self.api_url, lang=words["lang"], dir=words["dir"], added="".join(tags)
                )
            case "/frame":
                size = f'width="{query["width"]}" height="{query["height"]}"'
                body = FRAME.format(query=url.query, size=size)
            case "/shop.js":
                kind, body = "text/javascript", SCRIPT
            case "/added/stub" | "/added/axe":
                kind, body = "text/javascript", ADDED[url.path.removeprefix("/added/")]
            case "/icon.svg":
                kind, body = "image/svg+xml", ICON
            case "/token":
                self.tokens_asked += 1
                self.last_token = self.token(int(query["seller"]))
                kind, body = "text/plain", self.last_token
        request.send_response(200)
        request.send_header("Content-Type", kind)
        if url.path != "/frame":
            request.send_header("Content-Security-Policy", policy(self.api_url, query))
        request.end_headers()
        request.wfile.write(body.encode())
