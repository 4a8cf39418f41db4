"""Bytes and seconds: links, cells and how flows share them."""
