"""The operator's command line against a running stack."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from devstack.service_processes import ROOT
from tests.audience.storefront import Storefront
from tests.csv_oracle import expected_csv
from tests.end_to_end import command
from tests.end_to_end.conftest import Stack
from tests.polling import until
from tests.webhook_server import running_webhook_server
from tests.workbooks import opened

SELLER = 900
OTHER_SELLER = 910
COMMAND = Path(sys.executable).with_name("audience-export")


def run(stack: Stack, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run ``audience-export`` in the stack's environment."""
    return command.run(stack.environment, *arguments, stdin=stdin)


async def test_a_minted_token_opens_the_api(stack: Stack) -> None:
    ran = run(stack, "token", "--seller", "900", "--email", "seller900@example.com")
    headers = {"Authorization": f"Bearer {ran.stdout.decode().strip()}"}
    async with httpx.AsyncClient(base_url=stack.settings["API_URL"], headers=headers) as client:
        answer = await client.get("/audience")
    assert answer.status_code == 200


async def test_export_writes_the_same_merge_to_a_file_and_to_stdout(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    await storefront.follow("=ann@x.co", seller_id=SELLER)
    await storefront.buy("bob@x.co", seller_id=SELLER)
    expected = expected_csv(
        await storefront.members(), SELLER, ("follower", "customer"), ("email", "subscribed_at")
    )
    chosen = ("export", "--seller", str(SELLER), "--follower", "--customer", "-o")
    file = tmp_path / "list.csv"
    assert run(stack, *chosen, str(file)).returncode == 0
    assert file.read_bytes() == expected
    assert run(stack, *chosen, "-").stdout == expected
    assert os.listdir(tmp_path) == [file.name]


async def test_export_writes_a_workbook(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    await storefront.follow("=ann@x.co", seller_id=OTHER_SELLER)
    chosen = ("export", "--seller", str(OTHER_SELLER), "--follower", "--format", "xlsx", "-o")
    file = tmp_path / "list.xlsx"
    assert run(stack, *chosen, str(file)).returncode == 0
    [rows] = opened(file.read_bytes()).rows.values()
    assert [row[0] for row in rows] == ["Email", "=ann@x.co"]
    ran = run(stack, *chosen, str(file), "--bom")
    assert (ran.returncode, ran.stderr[:4]) == (2, b"bom:")


async def test_export_takes_every_option_of_a_file(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    for number, email in enumerate(("ann@x.co", "bob@x.co", "josé@x.co")):
        joined = datetime(2024, 3, 30 + number // 2, 12 * (number % 2), tzinfo=UTC)
        await storefront.follow(email, seller_id=931, created_at=joined)
    ran = run(
        stack,
        *("export", "--seller", "931", "--follower", "-o", "-", "--delimiter", "tab"),
        *("--locale", "de-AT", "--timezone", "europe/berlin"),
        *("--joined-after", "2024-03-30T12:00:00Z", "--joined-before", "2024-04-01"),
    )
    expected = expected_csv(
        await storefront.members(),
        931,
        ("follower",),
        ("email", "subscribed_at"),
        delimiter="\t",
        locale="de",
        timezone="Europe/Berlin",
        joined_after=datetime(2024, 3, 30, 12, tzinfo=UTC),
        joined_before=datetime(2024, 3, 31, 22, tzinfo=UTC),
    )
    assert (ran.stdout, ran.returncode) == (expected, 0)
    assert b"2 rows" in ran.stderr
    assert b"1 addresses have characters beyond ASCII" in ran.stderr


def test_export_says_which_option_makes_no_sense(stack: Stack) -> None:
    for option, value, field in [
        ("--timezone", "Europe/Bonn", b"timezone: "),
        ("--joined-after", "2024-02-30", b"joined_after: "),
        ("--locale", "-", b"locale: "),
        ("--delimiter", "|", b"--delimiter"),
    ]:
        ran = run(stack, "export", "--seller", "1", "--follower", "-o", "-", option, value)
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert field in ran.stderr


async def test_export_without_a_source_says_so(stack: Stack) -> None:
    ran = run(stack, "export", "--seller", "1", "-o", "-")
    assert ran.returncode == 2
    assert b"at least one source" in ran.stderr


async def test_watch_ends_with_the_export(stack: Stack, client: httpx.AsyncClient) -> None:
    body = {"seller_id": SELLER, "recipient_email": "watch@example.com", "affiliate": True}
    export = (await client.post("/exports", json=body)).json()
    ran = run(stack, "watch", export["id"])
    assert ran.returncode == 0
    file, status = ran.stdout.decode().splitlines()
    ended = (await client.get(f"/exports/{export['id']}")).json()["file"]
    assert file.startswith(ended["name"])
    assert file.endswith(ended["checksum"])
    assert status == "succeeded"


async def test_verify_counts_drift_and_rebuild_fixes_it(
    stack: Stack, storefront: Storefront
) -> None:
    seller = 901
    await storefront.follow("ann@x.co", seller_id=seller)
    chosen = ("--seller", str(seller))
    assert run(stack, "verify", *chosen).returncode == 0
    await storefront.connection.execute("DELETE FROM audience_members WHERE seller_id = 901")
    drifted = run(stack, "verify", *chosen)
    assert drifted.returncode == 1
    assert b"missing member: 1" in drifted.stdout
    assert run(stack, "rebuild", *chosen).returncode == 0
    assert run(stack, "verify", *chosen).returncode == 0


async def test_verify_of_all_sellers_is_remembered_for_prometheus(
    stack: Stack, storefront: Storefront
) -> None:
    before = await storefront.rows("projection_verifications")
    run(stack, "verify", "--seller", "901")
    assert await storefront.rows("projection_verifications") == before
    drift_rows = 0 if run(stack, "verify").returncode == 0 else 1
    (after,) = [
        row for row in await storefront.rows("projection_verifications") if row not in before
    ]
    assert min(after["drift_rows"], 1) == drift_rows
    run(stack, "rebuild")
    newest = max(
        await storefront.rows("projection_verifications"), key=lambda row: row["verified_at"]
    )
    assert newest["drift_rows"] == 0


def test_invalid_settings_are_named(stack: Stack) -> None:
    environment = stack.environment | {"AUTH_JWT_SECRET": "short"}
    ran = subprocess.run(
        [COMMAND, "verify"], cwd=ROOT, env=environment, capture_output=True, timeout=60
    )
    assert ran.returncode == 2
    assert b"AUTH_JWT_SECRET must be 32 bytes or more" in ran.stderr
    assert b"short" not in ran.stderr


def test_doctor_finds_nothing_that_keeps_a_running_stack_from_its_work(stack: Stack) -> None:
    ran = run(stack, "doctor", "--json")
    findings = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert {tuple(finding) for finding in findings} == {("check", "status", "detail", "advice")}
    warned = {finding["check"] for finding in findings if finding["status"] != "ok"}
    assert warned <= {"bucket.lifecycle", "bucket.public", "database.visibility"}
    lines = run(stack, "doctor").stdout.decode().splitlines()
    assert [line.split()[1] for line in lines] == [finding["check"] for finding in findings]


def test_doctor_fails_in_one_line_and_without_a_trace(stack: Stack) -> None:
    environment = stack.environment | {"REDIS_URL": "redis://:hush-hush@127.0.0.1:9"}
    ran = subprocess.run(
        [COMMAND, "doctor"], cwd=ROOT, env=environment, capture_output=True, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (1, b"")
    failures = [line for line in ran.stdout.decode().splitlines() if line.startswith("failure")]
    assert [line.split()[1] for line in failures] == ["redis"]
    assert b"hush" not in ran.stdout


def test_bucket_setup_writes_the_lifecycle_rule(stack: Stack) -> None:
    for _ in range(2):
        ran = run(stack, "bucket", "setup")
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert ran.stdout == b"The lifecycle rules are written; 0 other rules are kept.\n"


FOLLOWERS = b"""\
key,seller_id,email,created_at,confirmed_at
a,902,ann@x.co,2026-03-01,2026-03-01
b,902,bob@x.co,someday,
c,902,"cid
@x.co",2026-03-01,2026-03-01
"""


async def test_import_loads_a_file_and_names_its_bad_lines(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    file = tmp_path / "followers.csv.gz"
    file.write_bytes(gzip.compress(FOLLOWERS))
    first = run(stack, "import", "follower", str(file))
    assert (first.returncode, first.stdout) == (1, b"2 rows added, 0 changed, 1 bad lines\n")
    assert first.stderr == (
        b"line 3: created_at: is no time such as 2026-11-22T13:54:05Z\n"
        b"1 rows without a usable address: lines 4\n"
    )
    again = run(
        stack, "import", "follower", "-", stdin=FOLLOWERS.replace(b"someday", b"2026-03-01")
    )
    assert (again.returncode, again.stdout) == (0, b"1 rows added, 0 changed, 0 bad lines\n")
    assert [key for key in await storefront.members() if key[0] == 902] == [(902, "ann@x.co")]


@pytest.mark.parametrize(("rows", "ending"), [(100, ""), (101, ", …"), (1100, ", …")])
def test_import_lists_the_first_hundred_lines_without_a_usable_address(
    stack: Stack, rows: int, ending: str
) -> None:
    usable = "902,ann@x.co,2026-03-01\n"
    file = "seller_id,email,created_at\n" + usable + "902,ann at x.co,2026-03-01\n" * rows
    ran = run(stack, "import", "--dry-run", "follower", "-", stdin=file.encode())
    lines = ", ".join(map(str, range(3, 103)))
    assert ran.stderr.decode() == (
        f"{rows:,} rows without a usable address: lines {lines}{ending}\n"
    )
    assert ran.returncode == 0


def test_import_checks_without_writing(stack: Stack) -> None:
    ran = run(stack, "import", "--dry-run", "follower", "-", stdin=FOLLOWERS)
    assert (ran.returncode, ran.stdout) == (1, b"3 lines, 1 bad; nothing written\n")


def test_import_takes_a_file_whose_lines_end_in_carriage_returns(
    stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "followers.csv"
    file.write_bytes(b"seller_id;email;created_at\r902;ann@x.co;2026-03-01\r;;\r")
    ran = run(stack, "import", "--dry-run", "follower", str(file))
    assert (ran.returncode, ran.stdout) == (0, b"1 lines, 0 bad; nothing written\n"), ran.stderr


def test_import_says_what_it_cannot_use(stack: Stack) -> None:
    assert run(stack, "import", "fans", "-", stdin=b"").returncode == 2
    ran = run(stack, "import", "follower", "-", stdin=b"name\n")
    assert (ran.returncode, ran.stderr.split(b":")[0]) == (1, b"invalid_import_file")
    missing = run(stack, "import", "follower", "/nowhere.csv")
    assert (
        missing.stderr
        == b"invalid_import_file: /nowhere.csv cannot be read: No such file or directory.\n"
    )


async def test_stats_are_those_of_the_api_printed_as_json_and_as_a_page(
    stack: Stack, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    body = {"seller_id": SELLER, "recipient_email": "stats@example.com", "customer": True}
    export = (await client.post("/exports", json=body)).json()
    await client.get(f"/exports/{export['id']}?wait=30")
    file = tmp_path / "stats.html"
    ran = run(stack, "stats", "--days", "7", "--json", "--html", str(file))
    printed = json.loads(ran.stdout)
    assert printed == (await client.get("/stats?days=7")).json()
    assert printed["succeeded"] >= 1
    text = run(stack, "stats").stdout.decode()
    assert "Requested" in text
    assert "Customers" in text
    assert file.read_text().startswith("<!doctype html>")


async def test_a_service_is_told_of_its_exports_end(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    with running_webhook_server() as server:
        secret = run(stack, "webhook", "add", "service", server.url).stdout.decode().strip()
        body = {"seller_id": 903, "recipient_email": "told@example.com", "follower": True}
        export = (await client.post("/exports", json=body)).json()

        async def is_delivered() -> bool:
            return bool(server.calls)

        await until(is_delivered, within_s=30)
        listed = run(stack, "webhook", "list").stdout.decode()
        removed = run(stack, "webhook", "remove", "service")
    event = Webhook(secret).verify(server.calls[0].body, server.calls[0].headers)
    assert (event["type"], event["data"]["id"]) == ("export.succeeded", export["id"])
    assert b"told@example.com" not in server.calls[0].body
    assert listed.startswith(f"service {server.url} enabled ")
    assert removed.returncode == 0
    assert run(stack, "webhook", "rotate", "service").returncode == 1
