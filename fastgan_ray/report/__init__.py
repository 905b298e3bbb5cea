"""Show results to users: tables, charts and HTML pages. This package does not import Ray."""
