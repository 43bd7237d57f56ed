"""Questions about the code of eighteen packages: how well each mode of the search, and ripgrep, finds the answers."""
