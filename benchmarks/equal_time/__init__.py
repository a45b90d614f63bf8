"""Compare ways to search at equal training time; plan.md says what is compared and how it is decided."""
