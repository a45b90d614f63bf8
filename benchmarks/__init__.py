"""Programs that measure speed and search quality; results in README.md."""
