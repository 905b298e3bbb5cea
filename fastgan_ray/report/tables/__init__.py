"""Results as tables: Markdown for files, rich for terminals."""
