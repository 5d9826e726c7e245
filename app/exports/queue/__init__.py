"""2. Queue: lanes, leases, recovery."""
