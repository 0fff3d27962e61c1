"""A report as a person or a program reads it: terminal, CSV, JSON, Markdown and HTML; imports no torch."""
