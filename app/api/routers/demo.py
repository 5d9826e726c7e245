"""The demo page: a storefront with the dialog, and the mailbox beside it."""

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

from app.api.dependencies import ResourcesDep
from app.api.route_classes import LimitedBodyRoute
from app.api.routers.widget import asset_response
from app.audience.counts import count_audience
from app.audience.sources import SOURCES
from app.auth.principal import READ, WRITE

SELLER_ID = 1
SELLER_EMAIL = "seller1@example.com"
TOKEN_LIFETIME_S = 600
MAILS_SHOWN = 20
MEMBERS_SHOWN = 8

FIRST_DATE = f"least({', '.join(source.since for source in SOURCES)})"

# The members who joined last; it reads the whole audience, which only a demo's may be.
NEWEST_MEMBERS = f"""
    SELECT email, {FIRST_DATE} AS subscribed_at,
        {", ".join(f"{source.since} IS NOT NULL AS {source.key}" for source in SOURCES)}
    FROM audience_members
    WHERE seller_id = :seller_id AND {FIRST_DATE} < 'infinity'
    ORDER BY subscribed_at DESC, email
    LIMIT :limit
"""  # noqa: S608 - names come from the registry

REVALIDATE = "no-cache"
NO_STORE = {"Cache-Control": "no-store"}

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The Content-Security-Policy of a strict storefront: the dialog works under it."""

MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "sandbox allow-downloads allow-popups allow-popups-to-escape-sandbox"
)
"""Mails may have inline styles but no scripts; their links open outside the frame."""


async def demo_only(resources: ResourcesDep) -> None:
    """Answer 404 unless ``DEMO`` is on: the page carries a token of seller 1."""
    if not resources.settings.demo:
        raise HTTPException(404)


router = APIRouter(
    route_class=LimitedBodyRoute, include_in_schema=False, dependencies=[Depends(demo_only)]
)


@router.get("/")
def get_page(request: Request) -> Response:
    """Return the storefront's page."""
    policy = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer"}
    return asset_response(request, "demo.html", REVALIDATE, policy)


@router.get("/demo.{kind}")
def get_asset(request: Request, kind: Literal["css", "js", "svg"]) -> Response:
    """Return the page's style, script or icon."""
    return asset_response(request, f"demo.{kind}", REVALIDATE, {})


@router.get("/demo/token")
def get_token(resources: ResourcesDep) -> Response:
    """Return a token of seller 1, as a storefront's server would mint for its signed-in user."""
    settings = resources.settings
    if not settings.jwt_secrets:
        raise HTTPException(404, "The demo needs AUTH_JWT_SECRET to sign its token")
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


@router.get("/demo/members")
async def get_members(resources: ResourcesDep) -> Response:
    """Return how many members the seller has, and the newest."""
    counts = await count_audience(resources.database, seller_id=SELLER_ID)
    rows = await resources.database.fetch(NEWEST_MEMBERS, seller_id=SELLER_ID, limit=MEMBERS_SHOWN)
    items = [
        {
            "email": row["email"],
            "since": row["subscribed_at"].date().isoformat(),
            "sources": [source.label for source in SOURCES if row[source.key]],
        }
        for row in rows
    ]
    return JSONResponse({"total": counts.total, "items": items}, headers=NO_STORE)


# Plain functions, which FastAPI runs in threads: they read files.
@router.get("/demo/mails")
def get_mail_files(resources: ResourcesDep) -> Response:
    """List the mails that arrived, newest first."""
    items = [
        _summary(path) for path in list(_mail_files(resources.settings.mailbox_dir))[:MAILS_SHOWN]
    ]
    return JSONResponse({"items": items}, headers=NO_STORE)


@router.get("/demo/mails/{name}")
def get_mail(name: str, resources: ResourcesDep) -> Response:
    """Return one mail as HTML."""
    for path in _mail_files(resources.settings.mailbox_dir):
        # Compared with the files there are, never joined to the folder: a name may hold `..`.
        if path.stem == name:
            headers = NO_STORE | {"Content-Security-Policy": MAIL_POLICY}
            return HTMLResponse(_as_html(_parse(path)), headers=headers)
    raise HTTPException(404)


def _mail_files(folder: Path | None) -> Iterator[Path]:
    """Yield the messages' files, newest first: their names sort by arrival."""
    if folder is not None:
        yield from sorted(folder.glob("*.eml"), reverse=True)


def _parse(path: Path) -> EmailMessage:
    return BytesParser(EmailMessage, policy=default).parsebytes(path.read_bytes())


def _summary(path: Path) -> dict[str, str]:
    mail = _parse(path)
    date = mail["Date"].datetime.isoformat() if mail["Date"] else ""
    head = {name.lower(): str(mail[name] or "") for name in ("From", "To", "Subject")}
    return {"id": path.stem, "date": date, **head}


def _as_html(mail: EmailMessage) -> str:
    """Return the HTML part, or the text as HTML; links open in their own tab."""
    part = mail.get_body(("html", "plain"))
    text = str(part.get_content()) if part is not None else ""
    if part is None or part.get_content_subtype() != "html":
        text = f"<!doctype html><head></head><pre>{escape(text)}</pre>"
    return text.replace("<head>", '<head><base target="_blank">', 1)
