"""The motor under the table: what it is told, by which protocol, and what it tells back."""

from rulerlab.shaker.simulated import SimulatedShaker

__all__ = ["SimulatedShaker"]
