"""Questions about the code of seventeen packages: how well each mode of the search, and ripgrep, finds the answers."""
