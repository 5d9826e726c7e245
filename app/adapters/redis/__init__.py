"""Redis: the job queue, worker wake-ups and export events."""

import sys
from importlib import import_module
from types import ModuleType

JWT = "jwt"
"""redis-py imports this, and with it ``cryptography``, for tokens of Microsoft's identity service.

Nothing signs in to Redis with them, and a worker reads no others: 9 MB less.
"""

if JWT not in sys.modules:
    sys.modules[JWT] = ModuleType(JWT)
    try:
        import_module("redis.asyncio")
    finally:
        # The empty module must not stay: app.auth imports the real one.
        del sys.modules[JWT]
