"""What the service sends to, answered at once and thrown away: neither is what is measured."""
