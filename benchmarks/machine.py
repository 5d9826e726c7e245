"""Facts about where and with what the figures were taken."""

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


def facts() -> dict[str, str | int | float]:
    """Return the machine, the system and how busy it is before we begin."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(postgres: str) -> dict[str, str]:
    """Return the versions of what the service stands on; ``postgres`` is the server's own word."""
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "postgresql": postgres, **packages}


def processor() -> str:
    """Return the processor's name, or its kind where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
