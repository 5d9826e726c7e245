"""One import as ``audience-export import`` makes it: ``python -m benchmarks.importer``."""

import asyncio
from pathlib import Path
from typing import Any

from app.audience.sources import SOURCES_BY_KEY
from app.config import Settings
from app.importing import import_file
from benchmarks.measured import Spec, main

STREAMS = 2
"""The command's default."""


def job(spec: Spec) -> dict[str, Any]:
    """Import ``file`` as rows of ``source`` into the database of ``settings``."""
    settings = Settings.model_validate(spec["settings"])
    source, file = SOURCES_BY_KEY[spec["source"]], Path(spec["file"])
    imported = asyncio.run(import_file(settings, source, file, streams=STREAMS, is_dry=False))
    return {"rows": imported.written.added, "rejected": imported.rejected}


if __name__ == "__main__":
    main(job)
