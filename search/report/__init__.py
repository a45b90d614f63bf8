"""Everything that a person reads of a study: terminal, Markdown, HTML, tables and figures."""
