"""Programs that measure speed and search quality; README.md has their results."""
