"""Embedding files of any size: file/ on one machine into one file, ray/ on a cluster into a folder of parts.

settings.py has the settings that determine a run's vectors; rows.py embeds rows, some of which may be unusable.
"""
