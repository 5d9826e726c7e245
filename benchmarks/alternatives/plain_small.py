"""Small exports one after the other in a plain script: query, csv, put_object, mail."""

import csv
import io
import smtplib
from email.message import EmailMessage
from typing import Any

import psycopg

from benchmarks.alternatives.upload import open_client
from benchmarks.processes.in_process import Spec, main

LINK_LIFETIME_S = 604_800


def export(spec: Spec) -> dict[str, Any]:
    """Export every seller's list, over one database connection, one client, one mail session."""
    store = open_client(spec["s3_url"])
    with (
        psycopg.connect(spec["dsn"], autocommit=True) as connection,
        smtplib.SMTP(spec["smtp_host"], spec["smtp_port"]) as mail,
    ):
        for seller_id in spec["seller_ids"]:
            rows = connection.execute(spec["sql"].replace("{seller_id}", str(seller_id))).fetchall()
            key = f"{spec['key']}/{seller_id}.csv"
            store.put_object(Bucket=spec["bucket"], Key=key, Body=as_csv(spec["header"], rows))
            mail.send_message(message(store, spec["bucket"], key, seller_id))
    return {"exports": len(spec["seller_ids"])}


def as_csv(header: str, rows: list[tuple[Any, ...]]) -> bytes:
    """Return the file's bytes."""
    written = io.StringIO(header)
    written.seek(0, io.SEEK_END)
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode()


def message(store: Any, bucket: str, key: str, seller_id: int) -> EmailMessage:
    """Return a mail with a link to the file."""
    link = store.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=LINK_LIFETIME_S
    )
    mail = EmailMessage()
    mail["From"], mail["To"] = "exports@example.com", f"seller{seller_id}@example.com"
    mail["Subject"] = "Your audience export is ready"
    mail.set_content(f"Download it here:\n\n{link}\n")
    return mail


if __name__ == "__main__":
    main(export)
