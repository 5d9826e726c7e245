"""The languages: the texts of each, and numbers, dates and lists as each writes them."""
