"""Trained networks on the axis of the ruler: how far each layer has separated the classes."""
