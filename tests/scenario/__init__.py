"""Scenarios and the command line."""
