"""Firefox and WebKit: the page around the dialog, its languages, and narrow screens."""

import pytest

from tests.browser.conftest import Open
from tests.browser.engine_page import RUNNING, UNREACHABLE, EnginePage, counts, items
from tests.browser.layout import OUTSIDE
from tests.browser.shop import Shop
from tests.browser.stub import job
from tests.browser.test_visual import LANGUAGES, NUMBERS

pytestmark = pytest.mark.browser

ADOPT = """
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(arguments[0]);
    document.adoptedStyleSheets = [sheet];
"""

COLOURS = """audience-export {
    --audience-export-accent: rgb(1, 120, 80);
    --audience-export-background: rgb(250, 240, 230);
    --audience-export-radius: 0px;
    --audience-export-font: monospace;
} audience-export::part(button) { border-color: rgb(200, 0, 0); }"""

STRANGE = """* { text-transform: uppercase; text-align: center; color: red }
button, label, p { display: none !important }"""

EARLY = """
    const raw = document.implementation.createHTMLDocument().createElement("audience-export");
    const { getToken } = element;
    Object.assign(raw, { messages: { export: "Early" }, getToken });
    raw.setAttribute("api", element.getAttribute("api"));
    element.replaceWith(raw);
"""

MESSAGES = """element.messages = {
    export: 'Get my fans', follower: 'Fans', people: { one: '{n} fan', other: '{n} fans' },
}"""


STILL = "!root.querySelector('dialog').getAnimations().length"


async def test_an_origin_that_the_service_does_not_know_gets_nothing(
    served: Open, shop: Shop
) -> None:
    page = await served(origin=shop.other_origin)
    await page.click("#trigger")
    await page.wait_for_text("#message", UNREACHABLE)


async def test_the_page_may_change_texts_colours_and_shape(stubbed: Open) -> None:
    page = await stubbed()
    await page.run(ADOPT, COLOURS)
    await page.run(MESSAGES)
    await page.wait_for_text("#trigger", "Get my fans")
    await page.open()
    assert await page.text("#follower-name") == "Fans"
    assert await page.text("#reach") == "3 fans"
    assert await page.text("#customer-name") == "Customers"
    assert await page.style("#download", "backgroundColor") == "rgb(1, 120, 80)"
    assert await page.style("dialog", "backgroundColor") == "rgb(250, 240, 230)"
    assert await page.style("dialog", "borderTopLeftRadius") == "0px"
    assert await page.style("dialog", "fontFamily") == "monospace"
    assert await page.style("#trigger", "borderTopColor") == "rgb(200, 0, 0)"
    await page.run("element.messages = {}")
    await page.wait_for_text("#follower-name", "Followers")


async def test_the_pages_own_style_stays_outside(stubbed: Open) -> None:
    page = await stubbed()
    await page.run(ADOPT, STRANGE)
    await page.open()
    assert await page.style("dialog", "textTransform") == "none"
    assert await page.style("dialog", "textAlign") == "start"
    assert await page.style("dialog", "color") == "rgb(22, 24, 29)"
    assert await page.is_shown("#boxes label")


async def test_a_page_may_set_much_early_and_little_at_all(served: Open) -> None:
    page = await served()
    await page.run(EARLY)
    await page.wait_for_text("#trigger", "Early")
    await page.run("element.removeAttribute('api')")
    await page.open()
    await page.wait_for_text("#customer-count", "2")
    await page.click("#close")
    await page.run("element.getToken = undefined")
    await page.click("#trigger")
    await page.wait_for_text("#message", UNREACHABLE)


async def test_a_page_in_dark_has_a_dark_dialog_and_one_in_light_a_light_one(
    stubbed: Open,
) -> None:
    page = await stubbed()
    scheme = (
        "const [scheme, background] = arguments;"
        "Object.assign(document.documentElement.style, { colorScheme: scheme, background })"
    )
    await page.answer({"GET /exports?past": items(job(5), job(6))})
    await page.run(scheme, "dark", "#111")
    await page.open()
    assert await page.style("dialog", "backgroundColor") == "rgb(27, 29, 35)"
    assert await page.violations() == []
    await page.click("[data-of='deletejob-5']")
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": RUNNING})
    assert await page.violations() == []
    await page.click("#download")
    await page.wait_until_shown("#bar")
    assert await page.violations() == []
    await page.answer({"GET /exports/job-9": job(9, "failed")})
    await page.wait_until_shown("#retry")
    assert await page.violations() == []
    await page.run(scheme, "light", "#fff")
    assert await page.style("dialog", "backgroundColor") == "rgb(255, 255, 255)"


async def test_the_dialog_moves_where_motion_is_wanted(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    is_unwanted = await page.get("matchMedia('(prefers-reduced-motion)').matches")
    assert await page.style("dialog", "animationName") == ("none" if is_unwanted else "rise")


async def test_the_language_may_change_while_the_dialog_is_open(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /audience": counts(follower=12_345)})
    await page.open()
    for language, (export, followers, download, _) in LANGUAGES.items():
        await page.run("element.lang = arguments[0]", language)
        await page.wait_for_text("#trigger", export)
        assert await page.text("#follower-name") == followers
        assert await page.text("#download") == download
        text = await page.text("#dialog")
        assert "undefined" not in text
        assert "{" not in text
    for language, number in NUMBERS.items():
        await page.run("element.lang = arguments[0]", language)
        assert await page.text("#follower-count") == number
    for language, export in (
        ("zh-TW", "Export"),
        ("zh", "导出"),
        ("zh-Hant", "Export"),
        ("zh-Hans-HK", "导出"),
        ("zh-HK", "Export"),
    ):
        await page.run("element.lang = arguments[0]", language)
        await page.wait_for_text("#trigger", export)


async def left_of(page: EnginePage, selector: str) -> float:
    return float(await page.get(f"root.querySelector({selector!r}).getBoundingClientRect().left"))


async def test_right_to_left_is_a_mirror(stubbed: Open) -> None:
    page = await stubbed("&dir=rtl")
    await page.open()
    assert await left_of(page, "#follower-count") < await left_of(page, "[name='follower']")
    assert await left_of(page, "#close") < await left_of(page, "h2")
    assert await page.run(f"return ({OUTSIDE})()") == []


@pytest.mark.parametrize("language", ["en", "de", "fr"])
async def test_everything_fits_a_narrow_screen(stubbed: Open, language: str) -> None:
    page = await stubbed(f"&framed=1&width=320&height=560&lang={language}", path="/frame")
    assert await page.get("innerWidth") == 320
    past = items(*map(job, range(1, 4)), more=True)
    await page.answer({"GET /exports?past": past})
    await page.open()
    await page.wait_for(STILL)
    assert await page.run(f"return ({OUTSIDE})()") == []
    await page.click("#options")
    assert await page.run(f"return ({OUTSIDE})()") == []
    await page.click("[data-of='deletejob-1']")
    assert await page.run(f"return ({OUTSIDE})()") == []
    await page.click("#download")
    await page.wait_until_shown("#file")
    assert await page.run(f"return ({OUTSIDE})()") == []


@pytest.mark.parametrize("size", [(360, 560), (320, 256)])
async def test_the_actions_are_in_view_on_a_small_screen(
    stubbed: Open, size: tuple[int, int]
) -> None:
    width, height = size
    page = await stubbed(f"&framed=1&width={width}&height={height}", path="/frame")
    await page.answer({"GET /exports?past": items(*map(job, range(1, 6)))})
    await page.open()
    await page.click("#options")
    await page.wait_for("root.querySelectorAll('#list > li').length === 5")
    await page.wait_for(STILL)
    box = "root.querySelector('{}').getBoundingClientRect()"
    assert await page.get(f"{box.format('dialog')}.bottom") <= height
    if height < 420:
        await page.run("root.querySelector('#download').scrollIntoView({ block: 'nearest' })")
    top, bottom = [await page.get(f"{box.format('#download')}.{of}") for of in ("top", "bottom")]
    assert 0 <= top < bottom <= height
    lines = await page.get(
        "(({ height }, { lineHeight }) => height / parseFloat(lineHeight))"
        "(root.querySelector('small').getClientRects()[0], "
        "getComputedStyle(root.querySelector('small')))"
    )
    assert lines < 2.1


async def test_without_constructable_style_sheets_it_is_seen(stubbed: Open) -> None:
    page = await stubbed("&sheets=1")
    assert not await page.get("'adoptedStyleSheets' in document")
    await page.open()
    assert await page.style("dialog", "display") == "flex"
    assert await page.style("#download", "backgroundColor") == "rgb(29, 78, 216)"
    await page.click("#download")
    await page.wait_until_shown("#file")
