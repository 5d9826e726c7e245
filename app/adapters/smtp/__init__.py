"""The SMTP client: submits mail to the configured server."""
