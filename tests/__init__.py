"""Tests, in rooms that mirror the source."""
