"""The dialog on the storefront's page in an engine, by the ids of its shadow root."""

import json
from itertools import count
from typing import Any, Self

from tests.browser.engines import Engine, double_click, press
from tests.browser.stub import LABELS, job
from tests.polling import until
from tests.tokens import mint

ROOT = "const element = document.querySelector('audience-export'), root = element.shadowRoot; "

SPEED = 50
"""How many times faster time limits pass where a test waits for one."""

ACTIONS = ("cancel", "retry", "download", "file")

numbers = count()


def counts(follower: int = 3, customer: int = 2, affiliate: int = 1) -> dict[str, Any]:
    """Return the answer to ``GET /audience``."""
    numbers = {"follower": follower, "customer": customer, "affiliate": affiliate}
    sources = [{"key": key, "label": LABELS[key], "count": n} for key, n in numbers.items()]
    return {"sources": sources, "total": sum(numbers.values())}


def items(*jobs: dict[str, Any], more: bool = False) -> dict[str, Any]:
    """Return the answer to ``GET /exports``."""
    return {"items": list(jobs), "next_cursor": "more" if more else None}


USUAL = {
    "GET /audience": counts(),
    "GET /exports": items(),
    "GET /exports?past": items(),
    "POST /exports": [202, job(9)],
    "GET /exports/job-9": job(9),
}
"""The answers of a service without faults."""

RUNNING = job(9, "running", progress={"rows_exported": 46, "rows_estimated": 100})

UNREACHABLE = "The service cannot be reached just now."

NOTE_LINKS = """
    delete Navigator.prototype.userActivation;
    window.saved = [];
    HTMLAnchorElement.prototype.click = function () {
      window.saved.push([this.href, this.target]);
    };
"""


class EnginePage:
    """A page of the storefront; ``answer`` needs one that was opened with ``stub``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    async def load(cls, engine: Engine, url: str, *, in_frame: bool = False) -> Self:
        """Open a page and return it once the element is in it: drivers may return earlier."""
        await engine.goto(url)
        if in_frame:
            await engine.enter_frame()

        async def is_there() -> bool:
            found = "return Boolean(document.querySelector('audience-export')?.shadowRoot)"
            return bool(await engine.script(found))

        await until(is_there)
        return cls(engine)

    async def run(self, statements: str, *arguments: Any) -> Any:
        """Run statements in which ``element`` is the dialog's and ``root`` its shadow root."""
        return await self.engine.script(ROOT + statements, *arguments)

    async def get(self, expression: str) -> Any:
        """Evaluate an expression in which ``root`` is the shadow root."""
        return await self.run(f"return {expression}")

    async def wait_for(self, expression: str) -> None:
        """Wait until an expression holds."""

        async def holds() -> bool:
            return bool(await self.get(expression))

        await until(holds)

    async def is_shown(self, selector: str) -> bool:
        """Return whether an element is there and takes room."""
        return bool(await self.get(shown(selector)))

    async def wait_until_shown(self, selector: str) -> None:
        """Wait until an element is there and takes room."""
        await self.wait_for(shown(selector))

    async def wait_until_hidden(self, selector: str) -> None:
        """Wait until an element is not there or takes no room."""
        await self.wait_for(f"!{shown(selector)}")

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        found: str = await self.get(f"root.querySelector({selector!r}).textContent")
        return found

    async def wait_for_text(self, selector: str, part: str) -> None:
        """Wait until an element's text has this part."""
        where = f"root.querySelector({selector!r})?.textContent.includes({json.dumps(part)})"
        await self.wait_for(where)

    async def element(self, selector: str) -> Any:
        """Return an element once it is shown."""
        await self.wait_until_shown(selector)
        return await self.get(f"root.querySelector({selector!r})")

    async def click(self, selector: str) -> None:
        """Click an element once it is shown."""
        await self.engine.click(await self.element(selector))

    async def double_click(self, selector: str) -> None:
        """Click an element twice once it is shown."""
        await double_click(self.engine, await self.element(selector))

    async def press(self, *names: str) -> None:
        """Press keys, one after the other."""
        await press(self.engine, *names)

    async def fill(self, selector: str, value: str) -> None:
        """Give a field a value, as its user has left it."""
        field = await self.element(selector)
        await self.run(
            "const [field, value] = arguments; field.value = value;"
            "field.dispatchEvent(new Event('change', { bubbles: true }))",
            field,
            value,
        )

    async def ticked(self) -> list[str]:
        """Return the names of the sources whose boxes are ticked."""
        boxes = "[...root.querySelectorAll('#boxes :checked')].map(({ name }) => name)"
        return list(await self.get(boxes))

    async def tick(self, *keys: str) -> None:
        """Tick the boxes of these sources and no others."""
        for key in set(keys) ^ set(await self.ticked()):
            await self.click(f"[name='{key}']")

    async def style(self, selector: str, name: str) -> str:
        """Return a property of an element's computed style."""
        found: str = await self.get(f"getComputedStyle(root.querySelector({selector!r})).{name}")
        return found

    async def focused(self) -> str:
        """Return the id, or the name, of what has the focus."""
        inside = "root.activeElement ?? document.activeElement"
        found: str = await self.get(
            f"(({{ id, name, dataset }}) => name || id || dataset.of)({inside})"
        )
        return found

    async def actions(self) -> list[str]:
        """Return the ids of the actions that are shown."""
        return [name for name in ACTIONS if await self.is_shown(f"#{name}")]

    async def violations(self) -> list[str]:
        """Return the rules of axe-core that the page breaks; it was opened with ``axe``."""
        # Of the window: without it Firefox's driver makes a name that the page does not see.
        await self.run(
            "window.found = null;"
            "axe.run().then(({ violations }) => { window.found = violations; });"
        )

        async def is_done() -> bool:
            return await self.engine.script("return window.found !== null") is True

        await until(is_done)
        found: list[str] = await self.engine.script("return window.found.map(({ id }) => id)")
        return found

    async def answer(self, answers: dict[str, Any]) -> None:
        """Answer from now on with these; ``None`` is no answer at all."""
        await self.engine.script("Object.assign(answers, arguments[0])", answers)

    async def sign_in(self, seller_id: int) -> None:
        """Let the page's function return another token, of this seller, from now on."""
        email = f"seller{seller_id}@example.com"
        token = mint(seller_id=seller_id, email=email, jti=str(next(numbers)))
        await self.run("window.token = arguments[0]", token)

    async def hurry(self) -> None:
        """Let time limits pass faster from now on."""
        await self.run(f"window.speed = {SPEED}")

    async def hold(self) -> None:
        """Answer no request until :meth:`release`."""
        await self.run("window.gate = new Promise((open) => { window.release = open; })")

    async def release(self) -> None:
        """Answer the requests that waited, as ``answer`` says now."""
        await self.run("window.release()")

    async def note_links(self) -> None:
        """Follow no link from now on, and none without a click; ``saved`` has their addresses."""
        await self.run(NOTE_LINKS)

    async def told(self) -> list[list[str]]:
        """Return the DOM events that the page heard: names, and the export's state."""
        return list(await self.get("told"))

    async def requests(self, name: str) -> list[dict[str, Any]]:
        """Return the requests of one kind so far."""
        found = await self.run("return requests.filter(({ name }) => name === arguments[0])", name)
        return list(found)

    async def open(self) -> None:
        """Press Export, and wait for the counts."""
        await self.click("#trigger")
        await self.wait_for("root.querySelector('#follower-count')?.textContent")


def shown(selector: str) -> str:
    """Return an expression: whether an element is there and takes room."""
    return f"Boolean(root?.querySelector({selector!r})?.getClientRects().length)"
