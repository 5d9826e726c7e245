"""HTTP calls to webhook endpoints."""
