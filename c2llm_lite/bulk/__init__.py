"""Embedding files of any size: file/ on one machine into one file, ray/ on a cluster into a folder of parts.

settings.py says what decides the vectors of a run, and rows.py embeds rows of which some may be unusable.
"""
