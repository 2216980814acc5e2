"""Bare folding rulers: wooden, plastic or metal sticks with nothing drawn on them for tracking."""
