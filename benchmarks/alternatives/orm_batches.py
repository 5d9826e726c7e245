"""SQLAlchemy ORM objects in batches by key, as in many applications, then an upload."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.alternatives.upload import open_engine, uploaded
from benchmarks.processes.in_process import Spec, main

ROWS_AT_ONCE = 1000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Base(DeclarativeBase):
    """The declarative base."""


class Member(Base):
    """A row of ``audience_members``."""

    __tablename__ = "audience_members"

    seller_id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(primary_key=True)
    follower_since: Mapped[datetime | None]
    customer_since: Mapped[datetime | None]
    affiliate_since: Mapped[datetime | None]

    @property
    def subscribed_at(self) -> datetime:
        """The earliest of the three dates, in UTC."""
        dates = (self.follower_since, self.customer_since, self.affiliate_since)
        return min(date for date in dates if date is not None).astimezone(UTC)


def export(spec: Spec) -> dict[str, Any]:
    """Write each member with a csv.writer and upload the file."""
    with uploaded(spec) as path:
        with path.open("w", newline="") as file:
            file.write(spec["header"])
            writer = csv.writer(file, lineterminator="\n")
            for member in members(spec):
                guard = "'" if member.email.startswith(FORMULA) else ""
                written = member.subscribed_at.strftime("%Y-%m-%d %H:%M:%S")
                writer.writerow([guard + member.email, written])
        return {"bytes": path.stat().st_size}


def members(spec: Spec) -> Iterator[Member]:
    """Yield the seller's members in the order of their addresses."""
    engine = open_engine(spec["sqlalchemy_url"])
    chosen = select(Member).where(
        Member.seller_id == spec["seller_id"],
        or_(
            Member.follower_since.isnot(None),
            Member.customer_since.isnot(None),
            Member.affiliate_since.isnot(None),
        ),
    )
    last = ""
    while True:
        batch = chosen.where(Member.email > last).order_by(Member.email).limit(ROWS_AT_ONCE)
        with Session(engine) as session:
            found = session.scalars(batch).all()
            yield from found
        if len(found) < ROWS_AT_ONCE:
            return
        last = found[-1].email


if __name__ == "__main__":
    main(export)
