"""Results for human readers: tables, charts and report.html. Does not import Ray."""
