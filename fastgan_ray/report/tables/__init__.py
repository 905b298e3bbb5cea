"""Results as tables: in Markdown for files, and as `rich` tables for terminals."""
