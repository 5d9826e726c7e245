"""An HTTP load generator: one process, persistent connections.

It is written by hand because it must be cheap: it shares the machine with the server, and
HTTP libraries take as much time as the server.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Load:
    """Sends requests, each connection the next one as soon as the last is answered.

    The spec has ``port``, ``connections``, ``method``, ``paths`` (used in turn),
    ``headers`` and optionally a ``body`` with the placeholder ``{number}`` (unique for
    each request) and a list ``values`` for the placeholder ``{value}``. The load ends
    after ``seconds``, or after ``count`` requests.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._left = itertools.count(1) if "count" not in spec else iter(range(spec["count"]))
        self._ends_at = time.perf_counter() + spec.get("seconds", 3600)
        self._pending = self.requests()
        self.latencies_s: list[float] = []
        self.statuses: dict[str, int] = {}

    async def run(self) -> dict[str, Any]:
        """Send everything; return the latencies, the statuses and the duration."""
        started_at = time.perf_counter()
        await asyncio.gather(*(self._connection() for _ in range(self._spec["connections"])))
        seconds = time.perf_counter() - started_at
        return {"seconds": seconds, "latencies_s": self.latencies_s, "statuses": self.statuses}

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._spec["port"])
        for _ in self._left:
            sent_at = time.perf_counter()
            if sent_at > self._ends_at:
                break
            writer.write(next(self._pending))
            status = await self._answer(reader)
            self.latencies_s.append(time.perf_counter() - sent_at)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> str:
        head = (await reader.readuntil(HEAD_END)).lower()
        start = head.index(LENGTH) + len(LENGTH)
        await reader.readexactly(int(head[start : head.index(b"\r", start)]))
        return head.split(b" ", 2)[1].decode()

    def requests(self) -> Iterator[bytes]:
        """Yield requests without end."""
        headers = {"Host": "127.0.0.1", **self._spec.get("headers", {})}
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        values = itertools.cycle(self._spec.get("values", [""]))
        for number, path in enumerate(itertools.cycle(self._spec["paths"])):
            body = self._spec.get("body", "").replace("{number}", str(number))
            body = body.replace("{value}", str(next(values)))
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            yield f"{self._spec['method']} {path} HTTP/1.1\r\n{fields}{length}\r\n{body}".encode()


def main() -> None:
    """Run the load in the argument and print its result as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.processes.http_load", description=__doc__
    )
    parser.add_argument("spec", type=json.loads)
    load = Load(parser.parse_args().spec)
    print(json.dumps(uvloop.run(load.run())))


if __name__ == "__main__":
    main()
