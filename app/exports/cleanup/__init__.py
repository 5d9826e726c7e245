"""5. Cleanup: failed attempts, expired files, deletions, orphans."""
