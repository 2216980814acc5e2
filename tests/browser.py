"""Chromium without a window, driven by its own protocol over two pipes: no other program needed."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
]


def chromium():
    """Path of a Chromium on this machine, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One page in one Chromium; `events` are all messages that it sent unasked."""

    def __init__(self, profile, *, patience_s=60.0):
        self.patience_s, self.events, self.left, self.number = patience_s, [], b"", 0
        read_there, self.write = os.pipe()
        self.read, write_there = os.pipe()

        def hand_over():  # Chromium reads its orders from 3 and answers on 4
            first, second = os.dup(read_there), os.dup(write_there)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [chromium(), *QUIET, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(read_there)
        os.close(write_there)
        self.session = None
        self.ask("Target.setDiscoverTargets", discover=True)
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"],
                                flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.write)
        os.close(self.read)

    def _message(self):
        deadline = time.monotonic() + self.patience_s
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.read], [], [], deadline - time.monotonic())
            assert ready, "Chromium does not answer"
            part = os.read(self.read, 1 << 20)
            assert part, "Chromium ended"
            self.left += part
        text, self.left = self.left.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method, **parameters):
        """Send one order and wait for its answer."""
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.write, json.dumps(order).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self.number:
                assert "error" not in message, message["error"]
                return message["result"]
            self.events.append(message)

    def open(self, path, *, width, height=900, phone=False):
        """Load a file, or an address, in a window of this width (CSS pixels) until complete."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.events.clear()
        address = path if isinstance(path, str) else path.resolve().as_uri()
        self.ask("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())
        self.run("Promise.all([...document.images].map(image => image.decode()))")

    def run(self, expression):
        """Value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True,
                          returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression, patience_s=20):
        """Value of a JavaScript expression as soon as it is true."""
        deadline = time.monotonic() + patience_s
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, f"in vain for {expression}"
            time.sleep(0.05)
        return value

    def drag(self, start, end, steps=4):
        """Press the left button at `start` (CSS pixels), move to `end`, and release it."""
        def mouse(kind, x, y, **more):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", **more)

        mouse("mousePressed", *start, clickCount=1)
        for step in range(1, steps + 1):
            mouse("mouseMoved", *(a + (b - a) * step / steps
                                  for a, b in zip(start, end, strict=True)), buttons=1)
        mouse("mouseReleased", *end, clickCount=1)

    def press(self, key):
        """Press and release one key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key)

    def requests(self):
        """Every address asked for since `open`."""
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        """Every console message, log entry and uncaught exception since `open`."""
        return [event["params"] for event in self.events if event.get("method") in (
            "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled",
            "Network.loadingFailed")]

    def screenshot(self, path):
        """Write the whole page as PNG."""
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def print(self, path):
        """Write the page as PDF, as its print button does."""
        paper = self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69,
                         printBackground=True)
        path.write_bytes(base64.b64decode(paper["data"]))
