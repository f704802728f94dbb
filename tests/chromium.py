"""Headless Chromium for tests of pages, spoken to in its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 20.0


def find_chromium() -> str | None:
    """The program, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Chromium:
    """A browser with one page.

    Attributes:
        messages: errors and warnings of the page's console, and exceptions in its scripts.
        requests: addresses that the page asked for.
    """

    def __init__(self, program: str, profile: Path) -> None:
        options = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
            " --disable-background-networking --disable-component-update --disable-sync"
            " --disable-dev-shm-usage --hide-scrollbars --force-color-profile=srgb"
            " --remote-debugging-pipe"
        ).split()
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        with open(profile / "stderr", "w") as stderr:
            # The browser reads commands from descriptor 3 and answers on descriptor 4.
            self._pid = os.posix_spawn(
                program,
                [program, *options, f"--user-data-dir={profile}", "about:blank"],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs_in, 3),
                    (os.POSIX_SPAWN_DUP2, theirs_out, 4),
                    (os.POSIX_SPAWN_DUP2, stderr.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2),
                ],
                setpgroup=0,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread = b""
        self._last = 0
        self._session: str | None = None
        self.messages: list[str] = []
        self.requests: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        os.close(self._in)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result.

        Raises:
            RuntimeError: the browser refuses it.
            TimeoutError: no answer in time.
        """
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        for answer in self._answers():
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)
        raise RuntimeError("the browser has gone")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true.

        Raises:
            TimeoutError: it is not in time.
        """
        end = time.monotonic() + _PATIENCE
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def open(self, address: str) -> None:
        """Load a page afresh, and wait until it has loaded."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.messages.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def size(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        """The window in CSS pixels, and how many pixels of the screen each is.

        Returns when the page has been laid out anew.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            screenWidth=width,
            screenHeight=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.wait(f"screen.width === {width}")
        frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.evaluate(f"{frames}.then(() => 0)")

    def media(self, **features: str) -> None:
        """Media features: ``prefers_color_scheme="dark"``."""
        listed = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=listed)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``Input.dispatchMouseEvent``; ``kind`` is "Pressed", "Moved", "Released" or "Wheel"."""
        button = {} if kind == "Wheel" else {"button": "left", "buttons": int(kind != "Released")}
        self.call(
            "Input.dispatchMouseEvent",
            **{"type": f"mouse{kind}", "x": x, "y": y, "clickCount": 1, **button, **more},
        )

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """``Input.dispatchTouchEvent``; ``kind`` is "Start", "Move" or "End"."""
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=touches)

    def key(self, key: str, *, shift: bool = False) -> None:
        """A key pressed and released."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift)

    def screenshot(self, clip: Mapping[str, float] | None = None) -> bytes:
        """PNG of the window, or of a part (x, y, width, height) of the page."""
        options: dict[str, Any] = {}
        if clip is not None:
            options = {"clip": {"scale": 1, **clip}, "captureBeyondViewport": True}
        return base64.b64decode(self.call("Page.captureScreenshot", **options)["data"])

    def _answers(self) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + _PATIENCE
        while True:
            message, separator, rest = self._unread.partition(b"\0")
            if separator:
                self._unread = rest
                yield json.loads(message)
                continue
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                return
            self._unread += data

    def _note(self, event: Mapping[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.messages.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning"):
                self.messages.append(str(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.messages.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])


def _pipe() -> tuple[int, int]:
    """Read and write end, clear of the descriptors that the browser gets."""
    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return read, write
