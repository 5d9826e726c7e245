"""The outside world behind the ports: S3, SMTP and Redis."""
