"""Webhooks: endpoints, signatures, deliveries."""
