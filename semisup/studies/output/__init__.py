"""A comparison as tables and figures: text, Markdown, LaTeX, CSV, JSON, HTML, PNG, PDF."""
