"""The demo: a storefront's page with the dialog on it, and the mailbox beside it."""

import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from html import escape
from pathlib import Path
from typing import Any, Literal

import jwt
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from app.api.dependencies import Opened
from app.api.routes import PublicRoute
from app.api.web import file_answer
from app.auth import READ, WRITE

SELLER_ID = 1
SELLER_EMAIL = "seller1@example.com"
TOKEN_LIFETIME_S = 600
MAILS_SHOWN = 20

ALWAYS = "no-cache"
NO_STORE = {"Cache-Control": "no-store"}

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What a strict storefront would send: the dialog works under it."""

MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "sandbox allow-downloads allow-popups allow-popups-to-escape-sandbox"
)
"""Mails style themselves and run nothing; their links open outside."""


async def demo_only(opened: Opened) -> None:
    """Refuse unless the service runs as a demo: its page carries a token."""
    if not opened.settings.demo:
        raise HTTPException(404)


router = APIRouter(
    route_class=PublicRoute, include_in_schema=False, dependencies=[Depends(demo_only)]
)


@router.get("/")
def get_page(request: Request) -> Response:
    """Return the storefront's page."""
    policy = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer"}
    return file_answer(request, "demo.html", ALWAYS, policy)


@router.get("/demo.{kind}")
def get_part(request: Request, kind: Literal["css", "js", "svg"]) -> Response:
    """Return the page's style, script or icon."""
    return file_answer(request, f"demo.{kind}", ALWAYS, {})


@router.get("/demo/token")
def get_token(opened: Opened) -> Response:
    """Mint a token for seller 1, as a storefront's own server would for who is signed in."""
    settings = opened.settings
    if not settings.jwt_secrets:
        raise HTTPException(404, "Only AUTH_JWT_SECRET can sign a token here")
    claims: dict[str, Any] = {
        "aud": settings.auth_audience,
        "exp": int(time.time()) + TOKEN_LIFETIME_S,
        "scope": f"{READ} {WRITE}",
        "seller_id": SELLER_ID,
        "email": SELLER_EMAIL,
    }
    if settings.auth_issuer:
        claims["iss"] = settings.auth_issuer
    token = jwt.encode(claims, settings.jwt_secrets[0], algorithm="HS256")
    return JSONResponse({"token": token}, headers=NO_STORE)


@router.get("/demo/mails")
def get_mails(opened: Opened) -> Response:
    """List the mails that arrived, newest first."""
    items = [_summary(path) for path in list(_mails(opened.settings.mailbox_dir))[:MAILS_SHOWN]]
    return JSONResponse({"items": items}, headers=NO_STORE)


@router.get("/demo/mails/{name}")
def get_mail(name: str, opened: Opened) -> Response:
    """Return one mail as its reader sees it."""
    for path in _mails(opened.settings.mailbox_dir):
        if path.stem == name:
            headers = NO_STORE | {"Content-Security-Policy": MAIL_POLICY}
            return HTMLResponse(_readable(_parsed(path)), headers=headers)
    raise HTTPException(404)


def _mails(folder: Path | None) -> Iterator[Path]:
    """Yield the messages' files, newest first: their names sort by arrival."""
    if folder is not None:
        yield from sorted(folder.glob("*.eml"), reverse=True)


def _parsed(path: Path) -> EmailMessage:
    return BytesParser(EmailMessage, policy=default).parsebytes(path.read_bytes())


def _summary(path: Path) -> dict[str, str]:
    mail = _parsed(path)
    date = mail["Date"].datetime.isoformat() if mail["Date"] else ""
    head = {name.lower(): str(mail[name] or "") for name in ("From", "To", "Subject")}
    return {"id": path.stem, "date": date, **head}


def _readable(mail: EmailMessage) -> str:
    """Return the HTML part, or the text as HTML; links open in a tab of their own."""
    part = mail.get_body(("html", "plain"))
    text = str(part.get_content()) if part is not None else ""
    if part is None or part.get_content_subtype() != "html":
        text = f"<!doctype html><head></head><pre>{escape(text)}</pre>"
    return text.replace("<head>", '<head><base target="_blank">', 1)
