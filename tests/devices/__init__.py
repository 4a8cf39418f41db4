"""Tests of the devices room."""
