"""PostgreSQL: connections, transactions, statements."""
