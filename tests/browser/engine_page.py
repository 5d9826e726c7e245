"""The dialog on the storefront's page in an engine, by the ids of its shadow root."""

import json
from typing import Any, Self

from tests.browser.engines import Engine, double_click, press
from tests.browser.stub import LABELS, job
from tests.polling import until
from tests.tokens import mint

ROOT = "const element = document.querySelector('audience-export'), root = element.shadowRoot; "

SPEED = 50
"""How many times faster time limits pass where a test waits for one."""

ACTIONS = ("cancel", "retry", "download", "file")


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


class EnginePage:
    """A page of the storefront; ``answer`` needs one that was opened with ``stub``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    async def load(cls, engine: Engine, url: str) -> Self:
        """Open a page and return it once the element is in it: drivers may return earlier."""
        await engine.goto(url)

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
        """Let the page's function return this seller's token from now on."""
        token = mint(seller_id=seller_id, email=f"seller{seller_id}@example.com")
        await self.run("window.token = arguments[0]", token)

    async def hurry(self) -> None:
        """Let time limits pass faster from now on."""
        await self.run(f"window.speed = {SPEED}")

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
