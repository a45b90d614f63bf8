"""Open the storages of studies, which are SQLite files and PostgreSQL servers; check addresses; hold locks."""
