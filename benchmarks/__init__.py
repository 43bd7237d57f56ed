"""Measurements: bench/ is shipped; lab/, standin/ and results/ stay in the repository."""
