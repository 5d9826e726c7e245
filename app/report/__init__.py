"""The statistics report: as JSON, as an HTML page with plots, and in a terminal."""
