"""Programs that measure trainings: their speed, and what they learn."""
