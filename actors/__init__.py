"""Run these functions on these values: tapes, executors and the Ray actors that play them."""
