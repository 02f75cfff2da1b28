"""A real Chromium without a window, driven over its debugging pipe."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# The pipe are the descriptors 3 and 4; a shell can move them there from stdin and stdout.
_MOVE = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null'
_LOUD = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One page of a browser.

    Attributes:
        requests: Address of everything the page asked for, itself first.
        complaints: Everything on its console.
    """

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        self._process = subprocess.Popen(
            [
                *("/bin/sh", "-c", _MOVE, CHROMIUM, *options, "--remote-debugging-pipe"),
                *("--disable-background-networking", f"--user-data-dir={profile}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._n = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[dict[str, Any]] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self.call("Browser.close")
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        self._process.wait(30)

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask the browser for *method* and return its answer."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while True:
            heard = self._hear()
            if heard.get("id") == self._n:
                assert "error" not in heard, heard
                return heard["result"]

    def open(self, page: Path, width: int = 1280, *, dark: bool = False) -> None:
        """Load the file *page* into a window of *width* pixels."""
        self.requests.clear()
        self.complaints.clear()
        self._loaded = False
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._hear()

    def evaluate(self, expression: str) -> Any:
        """Return the value of *expression* in the page, whose own policy does not bind us."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self) -> bytes:
        """Return the whole page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def printed(self) -> bytes:
        """Return the page on paper, as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        data = bytearray()
        while not data.endswith(b"\0"):
            byte = self._process.stdout.read(1)
            assert byte, "the browser ended"
            data += byte
        heard: dict[str, Any] = json.loads(data[:-1])
        name = heard.get("method", "")
        if name == "Network.requestWillBeSent":
            self.requests.append(heard["params"]["request"]["url"])
        elif name == "Page.loadEventFired":
            self._loaded = True
        elif name in _LOUD:
            self.complaints.append(heard["params"])
        return heard
