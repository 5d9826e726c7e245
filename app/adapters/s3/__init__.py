"""Object storage over the S3 protocol."""
