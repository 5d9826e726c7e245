"""Proxies in front of an API, run with the snippets of ops/proxies and the real programs."""

import os
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack.ceph import search_path
from devstack.certificates import issue
from devstack.sandbox import Sandbox, free_port, is_listening
from devstack.service_processes import ROOT

FOLDER = ROOT / "ops" / "proxies"
PREFIX = "/lists"
API = "127.0.0.1:8000"
START_TIMEOUT_S = 30.0
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Place:
    """Where a proxy of these tests runs: its folder, its port, the API's port, its certificate."""

    folder: Path
    port: int
    api_port: int
    certificate: Path
    has_prefix: bool


def _path(program: str) -> str:
    """Return a program's path: an ordinary user's PATH lacks that of servers."""
    return shutil.which(program, path=search_path()) or program


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return a snippet with parts replaced, each of which it must have once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def nginx(place: Place) -> list[str | Path]:
    """Write nginx's configuration and return the command that runs it."""
    snippet = changed(
        (FOLDER / "nginx.conf").read_text(),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{place.api_port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{place.port} ssl;"),
        ("/etc/ssl/exports.example.com.pem", str(place.certificate)),
        ("/etc/ssl/exports.example.com.key", str(place.certificate)),
    )
    if place.has_prefix:
        snippet = changed(
            snippet,
            ("    location / {", f"    location {PREFIX}/ {{"),
            ("        proxy_pass http://audience_export;", "proxy_pass http://audience_export/;"),
        )
    user = "user root;" if os.getuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {place.folder}/{kind};" for kind in kinds)
    (place.folder / "snippet.conf").write_text(snippet)
    (place.folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {place.folder}/pid; error_log stderr warn; events {{}}\n"
        f"http {{ access_log off; {paths} include snippet.conf; }}\n"
    )
    return [_path("nginx"), "-p", place.folder, "-e", "stderr", "-c", place.folder / "nginx.conf"]


def haproxy(place: Place) -> list[str | Path]:
    """Write HAProxy's configuration and return the command that runs it."""
    snippet = changed(
        (FOLDER / "haproxy.cfg").read_text(),
        (f"server api1 {API}", f"server api1 127.0.0.1:{place.api_port}"),
        ("bind :443 ssl", f"bind 127.0.0.1:{place.port} ssl"),
        ("/etc/haproxy/exports.example.com.pem", str(place.certificate)),
    )
    if place.has_prefix:
        snippet = changed(snippet, ("# http-request replace-path", "http-request replace-path"))
    (place.folder / "haproxy.cfg").write_text(f"global\n    log stderr local0\n{snippet}")
    return [_path("haproxy"), "-db", "-f", place.folder / "haproxy.cfg"]


def caddy(place: Place) -> list[str | Path]:
    """Write Caddy's configuration and return the command that runs it."""
    snippet = changed(
        (FOLDER / "Caddyfile").read_text(),
        (
            "\nexports.example.com {",
            "\n{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
            f"https://localhost:{place.port} {{\n"
            f"\tbind 127.0.0.1\n\ttls {place.certificate} {place.certificate}\n",
        ),
        (f"reverse_proxy {API}", f"reverse_proxy 127.0.0.1:{place.api_port}"),
    )
    if place.has_prefix:
        snippet = changed(snippet, ("\t# For monitoring", f"\thandle_path {PREFIX}/* {{\n\t#"))
        snippet += "}\n"
    (place.folder / "Caddyfile").write_text(snippet)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", place.folder / "Caddyfile"]


PROXIES: dict[str, Callable[[Place], list[str | Path]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
}


@contextmanager
def proxied(sandbox: Sandbox, kind: str, api_port: int, prefix: str = "") -> Iterator[httpx.Client]:
    """Yield a client that reaches an API through a proxy, over one connection kept alive."""
    name = f"{kind}-{'prefix' if prefix else 'root'}"
    folder = sandbox.folder(name)
    certificate = issue(folder)
    place = Place(folder, free_port(), api_port, certificate.server, bool(prefix))
    process = sandbox.spawn(
        name, PROXIES[kind](place), folder=folder, environment={"XDG_DATA_HOME": str(folder)}
    )
    process.wait_until(lambda: is_listening(place.port), START_TIMEOUT_S)
    with httpx.Client(
        base_url=f"https://localhost:{place.port}{prefix}",
        verify=ssl.create_default_context(cafile=certificate.authority),
        limits=httpx.Limits(max_connections=1),
        timeout=TIMEOUT_S,
        trust_env=False,
    ) as client:
        yield client
    process.stop()
