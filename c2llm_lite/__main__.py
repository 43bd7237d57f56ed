"""`python -m c2llm_lite` runs the command line without its script."""

import sys

# `python -m` puts the current folder first on the path, and a checkpoint's folder may contain any code.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

from .cli import main

main()
