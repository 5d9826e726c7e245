"""Results, targets, verdicts, tables and plots."""
