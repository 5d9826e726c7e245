"""4. Delivery: the mail with the link."""
