"""`c2llm-lite bench`: accuracy, speed and size of each target against full precision."""
