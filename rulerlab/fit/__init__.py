"""Friction and noise of a bench or a pendulum from its motion."""
