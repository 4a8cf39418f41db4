"""``emulator report RUN``: a run as one HTML file. ``docs/report.md`` tells what is in it."""
