"""Decide which candidate is proposed next, and which ones a study starts with."""
