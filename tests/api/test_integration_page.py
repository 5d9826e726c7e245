"""The integration page's token opens the API."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import jwt
from httpx import AsyncClient

from devstack.service_processes import ROOT
from tests.tokens import SECRET, bearer


async def test_the_pages_token_is_one_of_a_seller(anonymous: AsyncClient) -> None:
    page = (ROOT / "docs" / "integration.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names = {
        "AUTH_JWT_SECRET": SECRET,
        "UTC": UTC,
        "datetime": datetime,
        "jwt": jwt,
        "seller": SimpleNamespace(id=1),
        "timedelta": timedelta,
        "user": SimpleNamespace(email="seller1@example.com"),
    }
    token = eval(code, names)  # noqa: S307 - our own page
    assert (await anonymous.get("/audience", headers=bearer(token))).status_code == 200
