"""A headless Chromium, driven over a pipe: opens pages at a size and in a colour scheme, and tells what went wrong.

Debian's package ``chromium-headless-shell`` is enough. The protocol is Chrome's DevTools Protocol: JSON messages that end in a
zero byte, on file descriptors 3 (to the browser) and 4 (from it), with ``--remote-debugging-pipe``.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0


def executable() -> str | None:
    """The browser of this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


class Browser:
    """A browser with one page. ``complaints``: errors of the console, of the page, and refused or failed requests."""

    def __init__(self, program: str, home: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        keep = (os.dup(to_read), os.dup(to_write))  # so that neither is 3 or 4 while they are put there
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
        # The shell puts the pipes on 3 and 4: what a child's own code would do is not allowed in a process with threads.
        words = f'exec "$@" 3<&{keep[0]} 4>&{keep[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", words, "bash", program, *flags, f"--user-data-dir={home}"], pass_fds=keep,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (to_read, to_write, *keep):
            os.close(end)
        self._numbers, self._held, self._events = itertools.count(1), b"", list[dict[str, Any]]()
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session: str | None = None
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{room}.enable")

    def close(self) -> None:
        self._session = None
        self._send("Browser.close", {})
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)

    def open(self, page: Path, width: int, scheme: str) -> None:
        """Open a file at a width and in a colour scheme (``light`` or ``dark``)."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", size)
        self._call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._events.clear()
        self._call("Page.navigate", {"url": page.resolve().as_uri()})
        self._until("Page.loadEventFired")

    def evaluate(self, words: str) -> Any:
        """The value of an expression in the page."""
        return self._call("Runtime.evaluate", {"expression": words, "returnByValue": True})["result"].get("value")

    def picture(self, path: Path, height: int | None = None, top: int = 0) -> None:
        """A PNG of the page from ``top`` on; the whole page without a height."""
        width = self.evaluate("document.documentElement.clientWidth")
        whole = self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": top, "width": width, "height": height or whole, "scale": 1}
        told = self._call("Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(told["data"]))

    def printed(self) -> bytes:
        """The page on A4 paper, as PDF."""
        told = self._call("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True})
        return base64.b64decode(told["data"])

    def _call(self, method: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        number = self._send(method, settings or {})
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                found: dict[str, Any] = message["result"]
                return found

    def _send(self, method: str, settings: dict[str, Any]) -> int:
        number = next(self._numbers)
        told: dict[str, Any] = {"id": number, "method": method, "params": settings}
        if getattr(self, "_session", None):
            told["sessionId"] = self._session
        os.write(self._write, json.dumps(told).encode() + b"\0")
        return number

    def _until(self, method: str) -> None:
        while not any(event["method"] == method for event in self._events):
            self._next()

    def _next(self) -> dict[str, Any]:
        """The next message; events are noted."""
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            got = os.read(self._read, 1 << 20)
            assert got, "the browser has ended"
            self._held += got
        first, self._held = self._held.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        if "method" in message:
            self._events.append(message)
            self._complain(message["method"], message["params"])
        return message

    def _complain(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console: {told['args']}")
        elif method == "Log.entryAdded":
            self.complaints.append(f"log: {told['entry']['text']}")
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith("file:"):
            self.complaints.append(f"request: {told['request']['url']}")
