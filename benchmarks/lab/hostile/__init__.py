"""Crafted and broken input against the whole package: deaths, hangs, foreign exceptions, silent differences."""
