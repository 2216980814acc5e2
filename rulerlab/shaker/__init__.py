"""The motor under the table: what it is told, by which protocol, and what it tells back."""

from rulerlab.shaker.drive import Drive, Limits, check_program, read_program
from rulerlab.shaker.driver import Shaker, ShakerError
from rulerlab.shaker.log import ShakerLog
from rulerlab.shaker.ports import list_ports, open_port
from rulerlab.shaker.simulated import SimulatedShaker

__all__ = [
    "Drive", "Limits", "Shaker", "ShakerError", "ShakerLog", "SimulatedShaker", "check_program",
    "list_ports", "open_port", "read_program",
]  # fmt: skip
