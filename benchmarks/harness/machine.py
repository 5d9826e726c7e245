"""The machine and the versions that the figures were measured with."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = (
    "asyncpg",
    "sqlalchemy",
    "aiobotocore",
    "aiohttp",
    "arq",
    "fastapi",
    "uvicorn",
    "uvloop",
)
GIB = 1024**3


def describe() -> dict[str, str | int | float]:
    """Return the machine, the operating system and its load before the run."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(postgres: str) -> dict[str, str]:
    """Return the versions of the dependencies; ``postgres`` is what the server reports."""
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "postgresql": postgres, **packages}


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not report it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
