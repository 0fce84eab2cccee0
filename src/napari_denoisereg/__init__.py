"""Denoise and register microscopy time-lapses and section stacks."""
