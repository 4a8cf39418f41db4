"""One paper, one file: what devices and the server do, written with the verbs compute and send."""
