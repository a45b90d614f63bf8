"""Open the storages of studies: SQLite files and PostgreSQL servers, their addresses and their locks."""
