"""The JSON document of the statistics, for ``GET /stats`` and the command line."""

from datetime import date
from typing import Self

from pydantic import BaseModel, Field

from app.statistics.duration_sketch import DurationSketch
from app.statistics.queries import DailyStatistics, ExportCounts, SellerStatistics, Statistics


class DurationSummary(BaseModel):
    """Durations in seconds; null where nothing succeeded. Quantiles are right within 1 %."""

    mean: float | None
    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, durations: DurationSketch) -> Self:
        """Return the summary of a sketch."""
        mean, p50, p95 = durations.mean_s, durations.quantile_s(0.5), durations.quantile_s(0.95)
        return cls(mean=_rounded(mean), p50=_rounded(p50), p95=_rounded(p95))


class DayEntry(BaseModel):
    """The exports that were requested on one UTC day."""

    day: date
    requested: int
    succeeded: int
    failed: int
    cancelled: int
    rows: int
    bytes: int
    processing_s: DurationSummary

    @classmethod
    def of(cls, day: DailyStatistics) -> Self:
        """Return the entry of a day."""
        return cls(day=day.day, processing_s=DurationSummary.of(day.processing), **vars(day.counts))


class SourcesEntry(BaseModel):
    """The exports of one combination of sources."""

    sources: list[str]
    requested: int
    succeeded: int
    failed: int
    cancelled: int
    rows: int
    bytes: int

    @classmethod
    def of(cls, sources: tuple[str, ...], counts: ExportCounts) -> Self:
        """Return the entry of a combination; ``sources`` are keys of the registry."""
        return cls(sources=list(sources), **vars(counts))


class SellerEntry(BaseModel):
    """One seller's exports."""

    seller_id: int
    requested: int
    succeeded: int
    failed: int
    rows: int

    @classmethod
    def of(cls, seller: SellerStatistics) -> Self:
        """Return the entry of a seller."""
        names = cls.model_fields.keys() - {"seller_id"}
        values = {name: getattr(seller.counts, name) for name in names}
        return cls(seller_id=seller.seller_id, **values)


class ErrorEntry(BaseModel):
    """The number of exports that failed with one error code."""

    code: str
    exports: int


class StatisticsResponse(BaseModel):
    """The results of the exports requested in the last ``days`` days, today included."""

    days: int
    requested: int
    succeeded: int = Field(description="Those whose file has expired or was erased included.")
    failed: int
    cancelled: int
    failure_rate: float = Field(description="failed / (succeeded + failed); 0 where there are none")
    processing_s: DurationSummary = Field(
        description="From the last claim to the end, of successes."
    )
    queue_s: DurationSummary = Field(
        description="From when it was due to the last claim, of successes."
    )
    rows: int
    bytes: int
    per_day: list[DayEntry] = Field(description="Every day, the oldest first.")
    by_sources: list[SourcesEntry] = Field(description="The most frequent first.")
    top_sellers: list[SellerEntry] = Field(description="The ten who asked most often.")
    errors: list[ErrorEntry] = Field(description="The most frequent first.")

    @classmethod
    def of(cls, statistics: Statistics) -> Self:
        """Return the response for the statistics."""
        total = statistics.total
        return cls(
            days=len(statistics.per_day),
            failure_rate=round(total.failure_rate, 6),
            processing_s=DurationSummary.of(statistics.processing),
            queue_s=DurationSummary.of(statistics.queue),
            per_day=[DayEntry.of(day) for day in statistics.per_day],
            by_sources=[SourcesEntry.of(*each) for each in statistics.by_sources.items()],
            top_sellers=[SellerEntry.of(seller) for seller in statistics.top_sellers],
            errors=[
                ErrorEntry(code=code, exports=count) for code, count in statistics.errors.items()
            ],
            **vars(total),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
