"""Authentication and authorization of callers: tokens, keys, scopes."""
