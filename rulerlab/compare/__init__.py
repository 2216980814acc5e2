"""Ruler, chain and network on one scale: which of them share their load alike."""
