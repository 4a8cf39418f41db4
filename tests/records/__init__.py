"""The run folder: rows in, files out, read back by somebody else's reader."""
