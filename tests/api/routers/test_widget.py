"""The module and the demo as files: size, names, caches; who may have them."""

import gzip
import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from app.api.routers.widget import FOLDER, MODULES, asset, modules_version
from tests.api.conftest import Start
from tests.tokens import bearer

COMPRESSED_BYTES_MAX = 12_000

WIDGET = asset("widget.js").body.decode()
SOURCES = {name: (FOLDER / "widget" / name).read_text() for name in MODULES}
TYPES = (FOLDER / "widget.d.ts").read_text()
LANGUAGES = {name: text for name, text in SOURCES.items() if name.startswith("languages/")}

TEXT = re.compile(r"^  (\w+): (.*?),$", re.M | re.S)


def messages() -> dict[str, dict[str, str]]:
    """Return the text of each message by language and name, as it stands in the modules."""
    english = SOURCES["texts.js"]
    english = english[english.index("ENGLISH = {") :]
    texts = {"en": dict(TEXT.findall(english[: english.index("\n};")]))}
    return texts | {Path(name).stem: dict(TEXT.findall(text)) for name, text in LANGUAGES.items()}


def first_load(text: str) -> dict[str, str]:
    """Return the modules that a module imports statically, and those that these import."""
    found: dict[str, str] = {}
    for name in re.findall(
        r'^(?:import|export)[^;]*? from "\./(?:widget/)?([\w/]+\.js)";', text, re.M
    ):
        found |= {name: SOURCES[name]} | first_load(SOURCES[name])
    return found


def test_what_is_loaded_first_is_small() -> None:
    entry = (FOLDER / "widget.js").read_text()
    modules = first_load(entry)
    assert "styles.js" in modules
    assert not modules.keys() & LANGUAGES.keys()
    sizes = {name: len(gzip.compress(text.encode())) for name, text in modules.items()}
    assert sum(sizes.values()) + len(gzip.compress(WIDGET.encode())) <= COMPRESSED_BYTES_MAX, sizes


@pytest.mark.parametrize("forbidden", ["innerHTML", "eval(", "new Function", "<style"])
def test_the_modules_hold_nothing_a_strict_policy_forbids(forbidden: str) -> None:
    for text in (WIDGET, *SOURCES.values()):
        assert forbidden not in text


def test_five_languages_say_everything() -> None:
    languages = messages()
    assert languages.keys() == {"en", "zh-CN", "de", "es", "fr"}
    assert len(languages["en"]) > 30
    for language, texts in languages.items():
        assert texts.keys() == languages["en"].keys(), language


def test_every_language_fills_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return set(re.findall(r"{(\w+)}", text))

    languages = messages()
    for language, texts in languages.items():
        for name, text in texts.items():
            assert gaps(text) == gaps(languages["en"][name]), (language, name)


def test_the_types_name_every_text_and_event() -> None:
    interface = TYPES[TYPES.index("interface AudienceExportMessages") :]
    named = re.findall(r"^  (\w+): string", interface[: interface.index("\n}")], re.M)
    assert set(named) == messages()["en"].keys()
    assert set(re.findall(r'"export-(\w+)"', TYPES)) == {
        "started",
        "finished",
        "failed",
        "cancelled",
    }


async def test_the_module_is_kept_until_it_changes(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/widget.js")
    assert answer.status_code == 200
    assert answer.text == WIDGET
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    headers = {"If-None-Match": answer.headers["etag"]}
    again = await anonymous.get("/widget.js", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]


async def test_the_module_has_a_name_under_which_it_never_changes(anonymous: AsyncClient) -> None:
    versioned = (await anonymous.get("/widget.js")).headers["content-location"]
    answer = await anonymous.get(versioned)
    assert answer.text == WIDGET
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_the_name_of_another_version_leads_to_the_one_there_is(
    anonymous: AsyncClient,
) -> None:
    answer = await anonymous.get("/widget-0123456789abcdef.js")
    assert (answer.status_code, answer.headers["location"]) == (302, "/widget.js")
    assert answer.headers["cache-control"] == "no-store"


async def test_the_modules_never_change_under_the_names_that_the_entry_gives_them(
    anonymous: AsyncClient,
) -> None:
    assert f'from "./widget/{modules_version()}/' in WIDGET
    for name, text in SOURCES.items():
        answer = await anonymous.get(f"/widget/{modules_version()}/{name}")
        assert answer.text == text
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["access-control-allow-origin"] == "*"
        headers = {"If-None-Match": answer.headers["etag"]}
        assert (await anonymous.get(f"/widget/{name}", headers=headers)).status_code == 304


async def test_a_page_that_outlives_its_version_gets_the_current_modules(
    anonymous: AsyncClient,
) -> None:
    answer = await anonymous.get("/widget/0123456789abcdef/languages/de.js")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/widget/{modules_version()}/languages/de.js"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["none.js", "..%2Fdemo.js", "x/..%2Fdemo.html", "languages/", "%00"]
)
async def test_only_modules_are_served(anonymous: AsyncClient, path: str) -> None:
    assert (await anonymous.get(f"/widget/{path}")).status_code == 404


async def test_who_cannot_decompress_gets_the_module_as_it_is(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/widget.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.text == WIDGET


async def test_any_page_may_load_the_module_and_its_types(anonymous: AsyncClient) -> None:
    for path in ("/widget.js", "/widget.d.ts"):
        answer = await anonymous.get(path, headers={"Origin": "https://anonymous.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.text == TYPES


@pytest.mark.parametrize(
    "path", ["/", "/demo.js", "/demo/token", "/demo/members", "/demo/mails", "/demo/mails/x"]
)
async def test_without_the_setting_there_is_no_demo(start: Start, path: str) -> None:
    async with start(demo=False) as (client, _):
        assert (await client.get(path)).status_code == 404
        assert (await client.get("/widget.js")).status_code == 200


async def test_the_demo_page_sends_a_strict_policy(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/")
    assert "<audience-export>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert (await anonymous.get(path)).status_code == 200, path


async def test_the_demos_token_is_sellers_1_for_a_short_while(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/demo/token")
    assert answer.headers["cache-control"] == "no-store"
    headers = bearer(answer.json()["token"])
    export = (await anonymous.post("/exports", json={"follower": True}, headers=headers)).json()
    assert (export["seller_id"], export["recipient_email"]) == (1, "seller1@example.com")
    assert (await anonymous.get("/exports?seller_id=2", headers=headers)).status_code == 403


async def test_the_demos_token_fits_an_issuer_that_is_requested(start: Start) -> None:
    async with start(auth_issuer="https://shop.example") as (client, _):
        token = (await client.get("/demo/token")).json()["token"]
        assert (await client.get("/audience", headers=bearer(token))).status_code == 200


async def test_where_only_a_key_server_signs_there_is_no_demo_token(start: Start) -> None:
    keys = {"auth_jwt_secret": None, "auth_jwks_url": "http://127.0.0.1:1/keys"}
    async with start(**keys) as (client, _):
        assert (await client.get("/demo/token")).status_code == 404


def write(folder: Path, name: str, html: str | None = None, **fields: Any) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = "a@example.com", "b@example.com"
    for field, value in fields.items():
        mail[field] = value
    mail.set_content("Plain <text>")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    (folder / f"{name}.eml").write_bytes(mail.as_bytes())


async def test_the_mailbox_lists_the_newest_mail_first(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "1", Subject="Older", Date="Sun, 22 Nov 2026 13:54:05 +0000")
    write(tmp_path, "2", Subject="Ünïcode")
    (tmp_path / ".unfinished").write_text("")
    async with start(mailbox_dir=tmp_path) as (client, _):
        items = (await client.get("/demo/mails")).json()["items"]
    assert [(each["id"], each["subject"]) for each in items] == [("2", "Ünïcode"), ("1", "Older")]
    assert [each["date"] for each in items] == ["", "2026-11-22T13:54:05+00:00"]


async def test_a_mail_can_be_read_and_run_nothing(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "1", html="<html><head></head><body><b>Rich</b></body></html>")
    write(tmp_path, "2")
    async with start(mailbox_dir=tmp_path) as (client, _):
        rich, plain = [await client.get(f"/demo/mails/{name}") for name in (1, 2)]
    assert '<head><base target="_blank"></head><body><b>Rich</b>' in rich.text
    assert "<pre>Plain &lt;text&gt;" in plain.text
    for answer in (rich, plain):
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "allow-scripts" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["3", "..%2F..%2Fetc%2Fpasswd", "%00", "1.eml", "*"])
async def test_only_mails_can_be_read(start: Start, tmp_path: Path, name: str) -> None:
    write(tmp_path, "1")
    async with start(mailbox_dir=tmp_path) as (client, _):
        assert (await client.get(f"/demo/mails/{name}")).status_code == 404


async def test_a_demo_without_a_mailbox_has_no_mails(start: Start) -> None:
    async with start(mailbox_dir=None) as (client, _):
        assert (await client.get("/demo/mails")).json() == {"items": []}
