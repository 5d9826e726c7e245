"""One import, as by ``audience-export import``: ``python -m
benchmarks.processes.importer``."""

import asyncio
from pathlib import Path
from typing import Any

from app.audience.sources import SOURCES_BY_KEY
from app.cli.import_file import import_file
from app.config import Settings
from benchmarks.processes.in_process import Spec, main

STREAMS = 2
"""The default of the command."""


def job(spec: Spec) -> dict[str, Any]:
    """Import ``file`` as rows of ``source`` into the database of ``settings``."""
    settings = Settings.model_validate(spec["settings"])
    source, file = SOURCES_BY_KEY[spec["source"]], Path(spec["file"])
    imported = asyncio.run(import_file(settings, source, file, streams=STREAMS, is_dry=False))
    return {"rows": imported.written.added, "rejected": imported.rejected}


if __name__ == "__main__":
    main(job)
