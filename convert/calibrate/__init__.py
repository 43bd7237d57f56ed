"""Calibration: texts, rounding that minimizes output error, smoothing of activations, and the recovery that the head absorbs."""
