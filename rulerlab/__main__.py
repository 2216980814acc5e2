"""`python -m rulerlab` is the same command as `rulerlab`."""

from rulerlab.cli import main

main()
