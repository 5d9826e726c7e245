"""How it looks and reads: accessibility rules, languages, narrow screens, right to left."""

from datetime import UTC, datetime

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Route, expect

from tests.browser.conftest import Visit
from tests.browser.dialog import Dialog
from tests.browser.layout import OUTSIDE
from tests.browser.service import Records, Service

pytestmark = pytest.mark.browser

LANGUAGES = {
    "en-GB": ("Export", "Followers", "Download", "Download file"),
    "zh-CN": ("导出", "关注者", "下载", "下载文件"),
    "de-AT": ("Exportieren", "Follower", "Herunterladen", "Datei herunterladen"),
    "es": ("Exportar", "Seguidores", "Descargar", "Descargar archivo"),
    "fr-CA": ("Exporter", "Abonnés", "Télécharger", "Télécharger le fichier"),
    "nonsense_": ("Export", "Followers", "Download", "Download file"),
}

NUMBERS = {"en": "12,345", "zh": "12,345", "de": "12.345", "es": "12.345", "fr": "12\u202f345"}


async def assert_accessible(dialog: Dialog) -> None:
    """Fail where axe-core finds anything that WCAG or good practice does not allow."""
    results = await Axe().run(dialog.page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_state_breaks_a_rule_of_accessibility(
    visit: Visit, service: Service, records: Records, seller_id: int, scheme: str
) -> None:
    for status in ("failed", "cancelled", "expired"):
        await records.add(seller_id, status, finished_at=datetime.now(UTC))
    dialog = await visit(color_scheme=scheme)
    await assert_accessible(dialog)
    await dialog.open()
    await assert_accessible(dialog)
    await dialog.tick([])
    await assert_accessible(dialog)
    await dialog.tick(["follower"])
    with service.frozen_worker():
        await dialog.download.click()
        await expect(dialog.progress).to_be_visible()
        await assert_accessible(dialog)
        export_id = await records.newest(seller_id)
        await records.change(export_id, status="running", rows_exported=1, rows_estimated=2)
        await expect(dialog.progress).to_have_attribute("aria-valuenow", "50")
        await assert_accessible(dialog)
        await records.change(export_id, status="queued")
    await dialog.ready()
    await expect(dialog.past).to_have_count(1)
    await assert_accessible(dialog)
    await dialog.past.get_by_role("button", name="Delete · ").click()
    await assert_accessible(dialog)


async def test_a_failure_breaks_no_rule_of_accessibility(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start()
        await expect(dialog.progress).to_be_visible()
        await records.change(
            await records.newest(seller_id), status="failed", error_detail="It is so."
        )
        await expect(dialog.retry).to_be_visible()
        await assert_accessible(dialog)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_dialog_speaks_the_language_of_the_page(visit: Visit, language: str) -> None:
    export, followers, download, file = LANGUAGES[language]
    dialog = await visit(lang=language)
    page = dialog.page
    await page.get_by_role("button", name=export, exact=True).click()
    await expect(page.get_by_role("checkbox", name=followers, exact=True)).to_be_checked()
    await page.get_by_role("button", name=download, exact=True).click()
    await expect(page.get_by_role("link", name=file)).to_be_visible()
    for text in await dialog.dialog.all_inner_texts():
        assert "undefined" not in text
        assert "{" not in text


async def test_numbers_are_written_as_the_language_does(visit: Visit) -> None:
    dialog = await visit()
    counted = {"sources": [{"key": "follower", "label": "Followers", "count": 12_345}], "total": 1}

    async def count(route: Route) -> None:
        await route.fulfill(response=await route.fetch(), json=counted)

    await dialog.page.route("**/audience*", count)
    await dialog.open()
    for language, number in NUMBERS.items():
        await dialog.page.evaluate(f"document.querySelector('audience-export').lang = '{language}'")
        shown = await dialog.page.locator("audience-export #follower-count").inner_text()
        assert shown == number


async def test_the_language_may_change_while_the_dialog_is_open(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    await dialog.page.evaluate("document.querySelector('audience-export').lang = 'de'")
    await expect(dialog.page.get_by_role("checkbox", name="Kunden")).to_be_visible()
    await expect(dialog.dialog).to_contain_text("3 Personen")


async def overflow(dialog: Dialog) -> list[str]:
    """Return what sticks out of the dialog or the screen."""
    found: list[str] = await dialog.page.evaluate(OUTSIDE)
    return found


@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_everything_fits_a_narrow_screen(visit: Visit, language: str) -> None:
    dialog = await visit(lang=language, viewport={"width": 320, "height": 560})
    await dialog.page.locator("audience-export #trigger").click()
    await expect(dialog.page.locator("audience-export #reach")).not_to_be_empty()
    await dialog.page.locator("audience-export #options").click()
    assert await overflow(dialog) == []
    await dialog.page.locator("audience-export #options").click()
    await dialog.page.locator("audience-export #download").click()
    await expect(dialog.page.locator("audience-export #file")).to_be_visible()
    assert await overflow(dialog) == []
    await expect(dialog.past).to_have_count(1)
    await dialog.past.first.get_by_role("button").click()
    assert await overflow(dialog) == []


async def left_of(locator: Locator) -> float:
    box = await locator.bounding_box()
    assert box is not None
    return box["x"]


async def test_right_to_left_is_a_mirror(visit: Visit) -> None:
    dialog = await visit(direction="rtl")
    await dialog.open()
    count = dialog.page.locator("audience-export #follower-count")
    assert await left_of(count) < await left_of(dialog.box("follower"))
    assert await left_of(dialog.close) < await left_of(dialog.dialog.locator("h2"))
    assert await overflow(dialog) == []
