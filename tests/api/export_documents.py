"""The body of a plain request, and how a document writes an instant."""

import re

FOLLOWERS = {"follower": True}

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
