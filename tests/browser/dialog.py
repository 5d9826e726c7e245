"""The dialog as a seller sees it: by the names that assistive technology reads."""

from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, Playwright, expect

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

NAMES = {"follower": "Followers", "customer": "Customers", "affiliate": "Affiliates"}

SOON_MS = 20_000


async def launch(playwright: Playwright, chromium: str) -> Browser:
    """Start the Chromium at this path: as root too, and without calls home."""
    return await playwright.chromium.launch(executable_path=chromium, args=FLAGS)


class Dialog:
    """The export button and the dialog of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.export = page.get_by_role("button", name="Export", exact=True)
        self.dialog = page.get_by_role("dialog")
        self.download = page.get_by_role("button", name="Download", exact=True)
        self.close = page.get_by_role("button", name="Close")
        self.cancel = page.get_by_role("button", name="Cancel", exact=True)
        self.show_all = page.get_by_role("button", name="Show all")
        self.options = page.get_by_role("button", name="Options")
        self.retry = page.get_by_role("button", name="Try again")
        self.status = page.get_by_role("status")
        self.progress = page.get_by_role("progressbar")
        self.file = page.get_by_role("link", name="Download file")
        self.past = self.dialog.get_by_role("listitem")

    def box(self, key: str) -> Locator:
        """Return the checkbox of a source."""
        return self.page.get_by_role("checkbox", name=NAMES[key], exact=True)

    async def open(self) -> None:
        """Press Export, and wait until the counts are there."""
        await self.export.click()
        await expect(self.page.locator("audience-export #reach")).not_to_be_empty()

    async def tick(self, keys: Sequence[str]) -> None:
        """Tick these boxes and no others."""
        for key in NAMES:
            await self.box(key).set_checked(key in keys)

    async def start(self, *keys: str) -> None:
        """Open the dialog and start an export of these sources."""
        await self.open()
        await self.tick(keys or ["follower"])
        await self.download.click()

    async def ready(self) -> None:
        """Wait until the file is there."""
        await expect(self.file).to_be_visible(timeout=SOON_MS)

    async def save(self, link: Locator | None = None) -> tuple[str, bytes]:
        """Download by a link, and return the file's name and content."""
        # Of any tab: it begins in a new one, which is known to Playwright before or after that.
        async with self.page.context.expect_event("download") as begun:
            await (link or self.file).click()
        download = await begun.value
        return download.suggested_filename, content(await download.path())

    async def told(self) -> list[list[str]]:
        """Return the DOM events that the page heard: names, and the export's state."""
        events: list[list[str]] = await self.page.evaluate("told")
        return events


def content(path: Path) -> bytes:
    """Return what was downloaded to ``path``."""
    return path.read_bytes()
