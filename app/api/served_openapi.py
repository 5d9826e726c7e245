"""The OpenAPI document as served: with the columns that the source tables really have."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from app.api.openapi import ExportAPI
from app.api.schemas.audience_events import event_schemas
from app.api.schemas.exports import EXPORT_EXAMPLE
from app.errors import TemporaryError
from app.feeds.columns import SourceTables, read_tables
from app.resources import Resources


class DatabaseAwareAPI(ExportAPI):
    """The application, whose OpenAPI document lists the columns of its source tables."""

    def setup(self) -> None:
        """Add the routes of the documentation; ours comes before FastAPI's, and the first wins."""
        if self.openapi_url:
            self.add_route(self.openapi_url, self._serve_openapi, include_in_schema=False)
        super().setup()

    def openapi(self) -> dict[str, Any]:
        """Return the document of a service whose source tables may have any columns."""
        return self.describe({})

    def describe(self, tables: SourceTables) -> dict[str, Any]:
        """Return the document with these source tables."""
        document = super().openapi()
        schemas = document["components"]["schemas"]
        schemas |= event_schemas(tables)
        schemas["ExportResponse"]["examples"] = [EXPORT_EXAMPLE]  # FastAPI drops what is null
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        return document

    async def _serve_openapi(self, request: Request) -> JSONResponse:
        document = self.describe(await _tables(request.app.state.resources))
        if root_path := request.scope.get("root_path", "").rstrip("/"):
            document["servers"] = [{"url": root_path}]
        return JSONResponse(document)


async def _tables(resources: Resources) -> SourceTables:
    try:
        return await read_tables(resources.database)
    except TemporaryError:
        return {}
