"""Friction and noise from a motion or a load curve, and how well they are known."""
