"""The minimal FastAPI route with a database query: ``uvicorn
benchmarks.processes.baseline_route:app``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from sqlalchemy import text

from app.database.connections import create_engine

POOL_SIZE = 10


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open an engine as the service does."""
    app.state.engine = create_engine(os.environ["DATABASE_URL"], POOL_SIZE)
    yield
    await app.state.engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/one")
async def get_one(request: Request) -> dict[str, int]:
    """Return the result of one statement."""
    async with request.app.state.engine.connect() as connection:
        return {"one": await connection.scalar(text("SELECT 1"))}
