"""Show a study to a reader, as text for the terminal, Markdown, HTML, tables and figures."""
