"""`python -m c2llm_lite` is the command line, where its script is not on the path."""

from .cli import main

main()
