"""Running silt and other programs from outside, and measuring them: what the scripts share."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SECTOR_BYTES = 512


@dataclass
class Run:
    """How one command ended. A killed program has the code 128 + signal, one that hung has None."""
    code: int | None
    stdout: str
    stderr: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    written_bytes: int = 0

    def last_error(self):
        lines = [x for x in self.stderr.splitlines() if x.strip()]
        return f"exit {self.code}" + (f": {lines[-1]}" if lines else "")


class Silt:
    """The binary under test; every call names its store."""

    def __init__(self, binary=None, timeout_seconds=3600):
        self.binary = binary or find_binary()
        self.timeout_seconds = timeout_seconds
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(("SILT_", "RUST_", "DOCKER_"))}

    def run(self, root, *arguments, stdin=None, within=()):
        """Runs `silt --root ROOT ARGUMENTS…`, measured; `within` is a command that starts it in turn."""
        command = [*within, self.binary, "--root", root, "--progress", "none", *arguments]
        return run_measured(command, self.environment, stdin, self.timeout_seconds)

    def image(self, root, reference):
        """(image ID, diffIDs) of an image in the store, or None."""
        run = self.run(root, "image", "inspect", "--json", reference)
        if run.code != 0:
            return None
        image = json.loads(run.stdout)
        image = image[0] if isinstance(image, list) else image
        return image["Id"], image["RootFS"].get("Layers") or []


def run_measured(command, environment=None, stdin=None, timeout_seconds=None):
    """Runs a command under time(1), whose own few pages do not count: a child of this interpreter
    would start with the interpreter's peak."""
    with tempfile.NamedTemporaryFile("r") as usage:
        timed = ["/usr/bin/time", "-q", "-f", "%e %M %O", "-o", usage.name, *map(str, command)]
        before = cpu_seconds_of_children()
        process = subprocess.Popen(timed, env=environment, stdin=stdin or subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            stdout, stderr = process.communicate(timeout=timeout_seconds)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            code = None
        run = Run(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))
        # time(1) gives hundredths of a second, of which the tiny pairs take one or two.
        run.cpu_seconds = cpu_seconds_of_children() - before
        fields = usage.read().split()[-3:]
    if code is not None and len(fields) == 3:
        run.seconds = float(fields[0])
        run.peak_rss_bytes = int(fields[1]) * 1024
        run.written_bytes = int(fields[2]) * SECTOR_BYTES
    return run


def cpu_seconds_of_children():
    """Of those that have ended. Nothing is measured while another thread waits for a child of its own."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def find_binary():
    """$SILT, else the release binary of this checkout."""
    target = os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")
    binary = Path(os.environ.get("SILT") or Path(target) / "release" / "silt")
    if not os.access(binary, os.X_OK):
        sys.exit(f"{Path(sys.argv[0]).name}: {binary} is not there\n"
                 "hint: cargo build --release -p cli, or name the binary in $SILT")
    return binary.resolve()


def need_programs(*programs):
    """Ends the script with a hint when one of the programs is missing."""
    missing = [x for x in programs if not shutil.which(x)]
    if missing:
        sys.exit(f"{Path(sys.argv[0]).name}: missing: {' '.join(missing)}\nhint: scripts/setup tests")
