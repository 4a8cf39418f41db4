"""Policies of synchronous rounds: who is asked (``choosing.py``), when a round ends (``endings.py``), both for any protocol."""
