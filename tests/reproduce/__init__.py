"""Slow reproductions: `make reproduce`."""
