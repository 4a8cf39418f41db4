"""Scenarios that ship with the platform, as YAML files."""
