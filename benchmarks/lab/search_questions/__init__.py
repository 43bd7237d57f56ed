"""Questions about real packages with known answers: how well each way to rank finds code."""
