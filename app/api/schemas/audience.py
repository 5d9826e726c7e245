"""The response of ``GET /audience``."""

from pydantic import BaseModel


class SourceCount(BaseModel):
    """How many members one source has."""

    key: str
    label: str
    count: int


class AudienceResponse(BaseModel):
    """A seller's audience; ``total`` counts each address once."""

    sources: list[SourceCount]
    total: int
