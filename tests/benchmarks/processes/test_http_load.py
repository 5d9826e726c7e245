"""The load client sends what its spec says and counts what comes back."""

from benchmarks.processes.http_load import Load


def spec(port: int, **more: object) -> dict[str, object]:
    return {"port": port, "connections": 3, "method": "PUT", "paths": ["/b/1", "/b/2"], **more}


async def test_as_many_requests_are_sent_as_requested(s3_port: int) -> None:
    loaded = await Load(spec(s3_port, count=20)).run()

    assert loaded["statuses"] == {"200": 20}
    assert len(loaded["latencies_s"]) == 20


async def test_it_ends_when_its_time_is_over(s3_port: int) -> None:
    loaded = await Load(spec(s3_port, seconds=0.1)).run()

    assert loaded["seconds"] >= 0.1
    assert loaded["statuses"].keys() == {"200"}


def test_each_request_has_a_number_and_the_next_value() -> None:
    body = '{"seller_id": {value}, "key": "{number}"}'

    requests = Load(spec(0, body=body, values=[7, 8])).requests()

    bodies = [next(requests).partition(b"\r\n\r\n")[2] for _ in range(3)]
    assert bodies == [
        b'{"seller_id": 7, "key": "0"}',
        b'{"seller_id": 8, "key": "1"}',
        b'{"seller_id": 7, "key": "2"}',
    ]
