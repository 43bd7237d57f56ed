"""`python -m c2llm_lite` is the command line, where its script is not on the path."""

import sys

# `python -m` puts the current folder first on the path, and a checkpoint's folder may hold any code.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

from .cli import main

main()
