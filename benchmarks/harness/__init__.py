"""The test bed: servers, clients and probes."""
