"""Format results as tables: Markdown for files, and `rich` tables for terminals."""
