"""The statistics as JSON, over HTTP and from the command line."""

from datetime import date
from typing import Self

from pydantic import BaseModel, Field

from app.exports.durations import Durations
from app.exports.statistics import Day, Seller, Statistics, Tally


class Times(BaseModel):
    """Durations in seconds; null where nothing succeeded. Quantiles are right within 1 %."""

    mean: float | None
    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, durations: Durations) -> Self:
        """Return the figures of a set."""
        mean, p50, p95 = durations.mean_s, durations.quantile_s(0.5), durations.quantile_s(0.95)
        return cls(mean=_rounded(mean), p50=_rounded(p50), p95=_rounded(p95))


class DayDocument(BaseModel):
    """The exports that were asked for on one day, in UTC."""

    day: date
    requested: int
    succeeded: int
    failed: int
    cancelled: int
    rows: int
    bytes: int
    processing_s: Times

    @classmethod
    def of(cls, day: Day) -> Self:
        """Return a day's document."""
        return cls(day=day.day, processing_s=Times.of(day.processing), **vars(day.tally))


class SourcesDocument(BaseModel):
    """The exports of one combination of sources."""

    sources: list[str]
    requested: int
    succeeded: int
    failed: int
    cancelled: int
    rows: int
    bytes: int

    @classmethod
    def of(cls, sources: tuple[str, ...], tally: Tally) -> Self:
        """Return a combination's document."""
        return cls(sources=list(sources), **vars(tally))


class SellerDocument(BaseModel):
    """One seller's exports."""

    seller_id: int
    requested: int
    succeeded: int
    failed: int
    rows: int

    @classmethod
    def of(cls, seller: Seller) -> Self:
        """Return a seller's document."""
        names = cls.model_fields.keys() - {"seller_id"}
        values = {name: getattr(seller.tally, name) for name in names}
        return cls(seller_id=seller.seller_id, **values)


class ErrorDocument(BaseModel):
    """How many exports failed of one cause."""

    code: str
    exports: int


class StatisticsDocument(BaseModel):
    """What became of the exports that were asked for on the last days, today included."""

    days: int
    requested: int
    succeeded: int = Field(description="Those whose file has expired or was erased included.")
    failed: int
    cancelled: int
    failure_rate: float = Field(description="failed / (succeeded + failed); 0 where there are none")
    processing_s: Times = Field(description="From the last claim to the end, of successes.")
    queue_s: Times = Field(description="From when it was due to the last claim, of successes.")
    rows: int
    bytes: int
    per_day: list[DayDocument] = Field(description="Every day, the oldest first.")
    by_sources: list[SourcesDocument] = Field(description="The most frequent first.")
    top_sellers: list[SellerDocument] = Field(description="The ten who asked most often.")
    errors: list[ErrorDocument] = Field(description="The most frequent first.")

    @classmethod
    def of(cls, statistics: Statistics) -> Self:
        """Return the document of some statistics."""
        total = statistics.total
        return cls(
            days=len(statistics.per_day),
            failure_rate=round(total.failure_rate, 6),
            processing_s=Times.of(statistics.processing),
            queue_s=Times.of(statistics.queue),
            per_day=[DayDocument.of(day) for day in statistics.per_day],
            by_sources=[SourcesDocument.of(*each) for each in statistics.by_sources.items()],
            top_sellers=[SellerDocument.of(seller) for seller in statistics.top_sellers],
            errors=[
                ErrorDocument(code=code, exports=count) for code, count in statistics.errors.items()
            ],
            **vars(total),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
