"""Tries crafted and broken input on the whole package: crashes, hangs, foreign exceptions, silent differences."""
