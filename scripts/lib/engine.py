"""A Docker engine's API, as far as loading an image and looking at it goes."""
import http.client
import json
import socket
import subprocess
import time
from contextlib import contextmanager
from urllib.parse import quote

API = "/v1.40"
TIMEOUT_SECONDS = 600


class EngineError(Exception):
    """The engine refused; the message is its own."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self.path))


class Docker:
    def __init__(self, socket_path):
        self.socket_path = socket_path

    def load(self, path):
        with open(path, "rb") as body:
            answer = self._call("POST", "/images/load?quiet=1", body, {
                "Content-Type": "application/x-tar", "Content-Length": str(path.stat().st_size)})
        if b'"error"' in answer:
            raise EngineError(answer.decode(errors="replace").strip())

    def image(self, reference):
        """(image ID, diffIDs)."""
        image = json.loads(self._call("GET", f"/images/{quote(reference, safe='')}/json"))
        return image["Id"], image["RootFS"]["Layers"]

    def remove(self, reference):
        self._call("DELETE", f"/images/{quote(reference, safe='')}?force=1")

    def _call(self, method, path, body=None, headers=None):
        connection = _UnixConnection(self.socket_path)
        try:
            connection.request(method, API + path, body, headers or {})
            response = connection.getresponse()
            answer = response.read()
        except OSError as error:
            raise EngineError(f"{self.socket_path}: {error}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise EngineError(answer.decode(errors="replace").strip())
        return answer


@contextmanager
def private_dockerd(folder):
    """A throw-away dockerd with all its state in `folder`; root is needed. Gives its socket."""
    folder.mkdir()
    listening = folder / "sock"
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "-H", f"unix://{listening}", "--data-root", folder / "data", "--exec-root", folder / "exec",
             "--pidfile", folder / "pid", "--iptables=false", "--ip6tables=false", "--bridge=none"],
            stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not listening.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                last_lines = (folder / "log").read_text(errors="replace").splitlines()[-5:]
                raise EngineError("dockerd does not start: " + " / ".join(last_lines))
            time.sleep(0.1)
        yield listening
    finally:
        daemon.terminate()
        daemon.wait(60)
