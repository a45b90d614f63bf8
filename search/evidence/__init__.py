"""Assess results by confirmation on fresh seeds, noise floor, reproduction and importance of the dimensions."""
