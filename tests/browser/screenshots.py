"""``make screenshots``: the dialog's main states, as the README shows them."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from app.database.connections import connect
from devstack import tokens
from devstack.sandbox import Sandbox
from devstack.seed import seed
from devstack.stack import Stack
from devstack.tokens import SELLER_ID
from tests.browser.dialog import Dialog, launch
from tests.browser.history import write_history
from tests.browser.service import Records, frozen
from tests.conftest import browser_path

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
MEMBERS = 100_000
WIDE = {"width": 1120, "height": 700}
NARROW = {"width": 320, "height": 640}
BORDER = 28
SCALE = 1.5


def main() -> int:
    """Make all pictures; return 1 where there is no browser."""
    chromium = browser_path()
    if chromium is None:
        print("Chromium is not installed.", file=sys.stderr)
        return 1
    with Sandbox() as sandbox:
        stack = Stack(sandbox, {})
        stack.start()
        asyncio.run(shoot(stack, chromium))
    return 0


async def shoot(stack: Stack, chromium: str) -> None:
    """Go through the states and take a picture of each."""
    await seed(stack.settings["DATABASE_URL"], members=MEMBERS)
    async with async_playwright() as playwright, await launch(playwright, chromium) as browser:
        dialog = await open_dialog(browser, stack, viewport=WIDE)
        await take(dialog.page, "dialog")
        await make_past(dialog)
        await take_progress(dialog, stack)
        await dialog.ready()
        await take(dialog.page, "ready", dialog)
        await dialog.options.click()
        await take(dialog.page, "options", dialog)
        await dialog.options.click()
        await dialog.close.click()
        mail = dialog.page.frame_locator("#mail").get_by_role("heading")
        await expect(mail).to_be_visible(timeout=20_000)
        await take(dialog.page, "demo")
        dark = await open_dialog(browser, stack, viewport=WIDE, color_scheme="dark")
        await take(dark.page, "dark", dark)
        await take((await open_dialog(browser, stack, viewport=NARROW)).page, "narrow")
        await take_plots(browser, stack)


async def open_dialog(browser: Browser, stack: Stack, **options: Any) -> Dialog:
    """Return the dialog, open on a new demo page."""
    page = await browser.new_page(device_scale_factor=SCALE, reduced_motion="reduce", **options)
    await page.goto(stack.api_url)
    dialog = Dialog(page)
    await dialog.open()
    return dialog


async def make_past(dialog: Dialog) -> None:
    """Leave three exports with a file behind, and the dialog open."""
    for keys in (("affiliate",), ("customer",), ("follower", "customer", "affiliate")):
        await dialog.tick(keys)
        await dialog.download.click()
        await dialog.ready()
    await expect(dialog.past).to_have_count(3)


async def take_progress(dialog: Dialog, stack: Stack) -> None:
    """Take a picture of an export that is half done, and let it go on."""
    assert stack.worker is not None
    connection = await connect(stack.settings["DATABASE_URL"])
    records = Records(stack.settings, connection)
    with frozen(stack.worker):
        await dialog.tick(["follower", "customer"])
        await dialog.download.click()
        await expect(dialog.progress).to_be_visible()
        export_id = await records.newest(SELLER_ID)
        await records.change(
            export_id, status="running", rows_exported=46_000, rows_estimated=MEMBERS
        )
        await expect(dialog.progress).to_have_attribute("aria-valuenow", "46")
        await take(dialog.page, "progress", dialog)
        await records.change(export_id, status="queued")
    await connection.close()


async def take_plots(browser: Browser, stack: Stack) -> None:
    """Take a picture of the statistics of a month."""
    connection = await connect(stack.settings["DATABASE_URL"])
    await connection.execute("TRUNCATE exports")
    await write_history(connection)
    await connection.close()
    token = tokens.demo_tokens(stack.settings)["SERVICE_TOKEN"]
    size: Any = WIDE
    page = await browser.new_page(
        device_scale_factor=SCALE,
        viewport=size,
        extra_http_headers={"Authorization": f"Bearer {token}"},
    )
    await page.goto(f"{stack.api_url}/stats?days=30")
    sellers = await page.get_by_role("region", name="Most active sellers").bounding_box()
    assert sellers is not None
    clip: Any = {"x": 0, "y": 0, "width": WIDE["width"], "height": sellers["y"]}
    await page.screenshot(path=FOLDER / "stats.png", full_page=True, clip=clip)


async def take(page: Page, name: str, around: Dialog | None = None) -> None:
    """Write a picture of the page, or of a dialog and a border around it."""
    clip: Any = None
    if around is not None:
        box = await around.dialog.bounding_box()
        assert box is not None
        clip = {
            "x": box["x"] - BORDER,
            "y": box["y"] - BORDER,
            "width": box["width"] + 2 * BORDER,
            "height": box["height"] + 2 * BORDER,
        }
    await page.screenshot(path=FOLDER / f"{name}.png", clip=clip)


if __name__ == "__main__":
    sys.exit(main())
