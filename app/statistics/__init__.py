"""Statistics of finished exports, which outlive their rows."""
