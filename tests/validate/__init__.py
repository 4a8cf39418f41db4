"""The network model against the packet-level simulator ns-3: `make validate`. Not part of the tests."""
