"""Firefox by Marionette and WebKit by WebDriver: pages, scripts, clicks and keys, and no more."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import httpx

from devstack.sandbox import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name of an element's reference (W3C WebDriver, section 12.3)."""

START_S = 60

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Escape": "\ue00c", "Space": " "}
"""The values of keys (W3C WebDriver, section 17.4.2)."""

Actions = list[dict[str, Any]]
"""The sequences of a list of input devices (W3C WebDriver, section 17.5)."""


class Engine(Protocol):
    """A browser with one page."""

    async def goto(self, url: str) -> None:
        """Open a page."""

    async def script(self, body: str, *arguments: Any) -> Any:
        """Run the body of a function in the page, and return what it returns."""

    async def click(self, element: Any) -> None:
        """Click an element, which a script has returned, as a person would."""

    async def perform(self, actions: Actions) -> None:
        """Let the keyboard or the mouse do something."""

    async def resize(self, width: int, height: int) -> None:
        """Give the window a size, or the nearest that the browser takes."""

    async def enter_frame(self) -> None:
        """Let scripts and clicks be those of the page's first frame, until a page is opened."""


async def press(engine: Engine, *names: str) -> None:
    """Press keys, one after the other; ``Shift+Tab`` is two at the same time."""
    strokes = []
    for name in names:
        keys = name.split("+")
        strokes += [("keyDown", key) for key in keys]
        strokes += [("keyUp", key) for key in reversed(keys)]
    await strike(engine, *strokes)


async def strike(engine: Engine, *strokes: tuple[str, str]) -> None:
    """Let keys go down (``keyDown``) or up (``keyUp``)."""
    actions = [{"type": kind, "value": KEYS[name]} for kind, name in strokes]
    await engine.perform([{"type": "key", "id": "keyboard", "actions": actions}])


DOWN = {"type": "pointerDown", "button": 0}
UP = {"type": "pointerUp", "button": 0}


def to(x: int, y: int, origin: Any = "viewport") -> dict[str, Any]:
    """Return a move of the mouse to a place of the page, or from the middle of an element."""
    return {"type": "pointerMove", "duration": 0, "origin": origin, "x": x, "y": y}


async def mouse(engine: Engine, *actions: dict[str, Any]) -> None:
    """Move and press the mouse."""
    parameters = {"pointerType": "mouse"}
    await engine.perform(
        [{"type": "pointer", "id": "mouse", "parameters": parameters, "actions": list(actions)}]
    )


async def double_click(engine: Engine, element: Any) -> None:
    """Click an element twice within the time of a double click."""
    await mouse(engine, to(0, 0, element), DOWN, UP, DOWN, UP)


class Firefox:
    """Firefox, by its own protocol: a TCP connection with JSON that its length precedes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0

    async def read(self) -> Any:
        """Read one message."""
        length = int((await self._reader.readuntil(b":"))[:-1])
        return json.loads(await self._reader.readexactly(length))

    async def call(self, command: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        message = json.dumps([0, self._number, f"WebDriver:{command}", parameters]).encode()
        self._writer.write(b"%d:%s" % (len(message), message))
        number = 0
        while number != self._number:  # skip the answer to a command that a test gave up
            _, number, error, result = await self.read()
        assert error is None, error
        return result

    async def goto(self, url: str) -> None:
        """Open a page."""
        await self.call("Navigate", url=url)

    async def script(self, body: str, *arguments: Any) -> Any:
        """Run the body of a function in the page, and return what it returns."""
        result = await self.call("ExecuteScript", script=body, args=list(arguments))
        return result["value"]

    async def click(self, element: Any) -> None:
        """Click an element, which a script has returned, as a person would."""
        await self.call("ElementClick", id=element[ELEMENT])

    async def perform(self, actions: Actions) -> None:
        """Let the keyboard or the mouse do something."""
        await self.call("PerformActions", actions=actions)

    async def resize(self, width: int, height: int) -> None:
        """Give the window a size, or the nearest that the browser takes."""
        await self.call("SetWindowRect", width=width, height=height)

    async def enter_frame(self) -> None:
        """Let scripts and clicks be those of the page's first frame, until a page is opened."""
        await self.call("SwitchToFrame", id=0)


class WebKit:
    """WebKitGTK, by W3C WebDriver over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, path: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        answer = await self._client.post(path, json=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    async def goto(self, url: str) -> None:
        """Open a page."""
        await self.call("url", url=url)

    async def script(self, body: str, *arguments: Any) -> Any:
        """Run the body of a function in the page, and return what it returns."""
        return await self.call("execute/sync", script=body, args=list(arguments))

    async def click(self, element: Any) -> None:
        """Click an element, which a script has returned, as a person would."""
        await self.call(f"element/{element[ELEMENT]}/click")

    async def perform(self, actions: Actions) -> None:
        """Let the keyboard or the mouse do something."""
        await self.call("actions", actions=actions)

    async def resize(self, width: int, height: int) -> None:
        """Give the window a size, or the nearest that the browser takes."""
        await self.call("window/rect", width=width, height=height)

    async def enter_frame(self) -> None:
        """Let scripts and clicks be those of the page's first frame, until a page is opened."""
        await self.call("frame", id=0)


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[None]:
    """Run a program in a process group, and stop all of it at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        # The whole group: a browser and a virtual screen are processes of their own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a local port once something listens there."""
    async with asyncio.timeout(START_S):
        while True:
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Engine]:
    """Start Firefox with a profile of its own."""
    port = free_port()
    preferences = {"marionette.port": port, "intl.accept_languages": "en-GB"}
    lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in preferences.items()]
    (folder / "user.js").write_text("\n".join(lines))
    command = ("firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(folder))
    async with started(*command):
        reader, writer = await connected(port)
        engine = Firefox(reader, writer)
        await engine.read()
        await engine.call("NewSession", capabilities={})
        yield engine
        writer.close()


@asynccontextmanager
async def webkit() -> AsyncIterator[Engine]:
    """Start WebKitGTK's small browser on a virtual screen."""
    port = free_port()
    async with started("xvfb-run", "-a", "WebKitWebDriver", f"--port={port}"):
        _, writer = await connected(port)
        writer.close()
        async with httpx.AsyncClient(timeout=60) as client:
            options = {"browserOptions": {"binary": minibrowser(), "args": ["--automation"]}}
            wanted = {
                "capabilities": {"alwaysMatch": {"webkitgtk:" + k: v for k, v in options.items()}}
            }
            answer = await client.post(f"http://127.0.0.1:{port}/session", json=wanted)
            session = answer.json()["value"]["sessionId"]
            client.base_url = httpx.URL(f"http://127.0.0.1:{port}/session/{session}/")
            yield WebKit(client)
            await client.delete("")


def minibrowser() -> str:
    """Return where Debian keeps WebKitGTK's small browser."""
    return str(next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser")))
