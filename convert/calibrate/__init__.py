"""Calibration: texts, rounding by output error, smoothing of activations, and the recovery that the head absorbs."""
