"""Other programs that make deltas, run over the same bytes as Silt: two files, old and new."""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from librsync import count_copies
from siltrun import REPOSITORY, run_measured

HDIFFPATCH_DIFF = """
import sys, hdiffpatch
old, new = (open(name, "rb").read() for name in sys.argv[1:3])
open(sys.argv[3], "wb").write(hdiffpatch.diff(old, new, compression="lzma2"))
"""
HDIFFPATCH_APPLY = """
import sys, hdiffpatch
old, delta = (open(name, "rb").read() for name in sys.argv[1:3])
open(sys.argv[3], "wb").write(hdiffpatch.apply(old, delta))
"""


@dataclass
class Peer:
    """`create` and `apply` give the commands that make `delta` in a folder that holds nothing else, or
    `result` in one that holds the delta. `memory` says what creating takes at least."""
    name: str
    title: str
    programs: tuple
    create: object
    apply: object
    memory: object = field(default=lambda old_bytes, new_bytes: 0)


def venv_python():
    """The interpreter into whose packages `scripts/setup bench` puts hdiffpatch."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "bench-venv" / "bin" / "python"


def xdelta3_window(old):
    """All of the old file, rounded up as xdelta3 does."""
    return max(1 << 26, 1 << (old.stat().st_size - 1).bit_length())


PEERS = (
    Peer("librsync", "librsync, blocks of 512, gzip -6", ("rdiff", "gzip"),
         lambda old, new, at: [
             ["rdiff", "-b", "512", "signature", old, at / "signature"],
             ["rdiff", "delta", at / "signature", new, at / "delta.raw"],
             ["gzip", "-6nk", "-S", ".z", at / "delta.raw"],
             ["ln", at / "delta.raw.z", at / "delta"]],
         lambda old, at: [
             ["gzip", "-dfk", "-S", ".z", at / "delta.raw.z"],
             ["rdiff", "patch", old, at / "delta.raw", at / "result"]]),
    Peer("xdelta3", "xdelta3 -9 -S lzma -B (all of old)", ("xdelta3",),
         lambda old, new, at: [
             ["xdelta3", "-q", "-e", "-9", "-S", "lzma", "-B", xdelta3_window(old), "-s", old, new, at / "delta"]],
         lambda old, at: [
             ["xdelta3", "-q", "-d", "-B", xdelta3_window(old), "-s", old, at / "delta", at / "result"]]),
    Peer("zstd", "zstd -19 --long=30 --patch-from", ("zstd",),
         lambda old, new, at: [
             ["zstd", "-q", "-19", "--long=30", f"--patch-from={old}", new, "-o", at / "delta"]],
         lambda old, at: [
             ["zstd", "-q", "-d", "--long=30", f"--patch-from={old}", at / "delta", "-o", at / "result"]]),
    Peer("bsdiff", "bsdiff", ("bsdiff", "bspatch"),
         lambda old, new, at: [["bsdiff", old, new, at / "delta"]],
         lambda old, at: [["bspatch", old, at / "result", at / "delta"]],
         memory=lambda old_bytes, new_bytes: 17 * old_bytes + 3 * new_bytes),
    Peer("hdiffpatch", "hdiffpatch with LZMA2", (venv_python(),),
         lambda old, new, at: [[venv_python(), "-c", HDIFFPATCH_DIFF, old, new, at / "delta"]],
         lambda old, at: [[venv_python(), "-c", HDIFFPATCH_APPLY, old, at / "delta", at / "result"]],
         memory=lambda old_bytes, new_bytes: 6 * old_bytes + 3 * new_bytes),
)


def run_peer(peer, old, new, folder):
    """Makes a delta and applies it. Says in `problem` why there is none, or why it counts for nothing."""
    outcome = {"problem": absence(peer) or lack_of_memory(peer, old, new)}
    if outcome["problem"]:
        return outcome
    folder.mkdir()
    try:
        outcome["create"] = run_steps(peer.create(old, new, folder))
        outcome["delta_bytes"] = (folder / "delta").stat().st_size
        if (folder / "delta.raw").exists():
            raw = (folder / "delta.raw").read_bytes()
            outcome.update(raw_bytes=len(raw), copies=count_copies(raw))
        outcome["apply"] = run_steps(peer.apply(old, folder))
        if subprocess.run(["cmp", "-s", new, folder / "result"]).returncode:
            outcome["problem"] = "applying it gives other bytes"
    except StepFailed as failure:
        outcome["problem"] = str(failure)
    finally:
        shutil.rmtree(folder)
    return outcome


class StepFailed(Exception):
    """A program that did not end well."""


def run_steps(commands):
    """What the commands took together: the sum of their times, the most memory of any."""
    runs = []
    for command in commands:
        runs.append(run_measured(command))
        if runs[-1].code != 0:
            raise StepFailed(f"{Path(str(command[0])).name}: {runs[-1].last_error()}")
    return {"seconds": sum(x.seconds for x in runs), "cpu_seconds": sum(x.cpu_seconds for x in runs),
            "peak_rss_bytes": max(x.peak_rss_bytes for x in runs),
            "written_bytes": sum(x.written_bytes for x in runs),
            "cpu_seconds_of_steps": [x.cpu_seconds for x in runs]}


def absence(peer):
    """Why the peer cannot run here, or None."""
    missing = [str(x) for x in peer.programs if not shutil.which(x)]
    return f"{' '.join(missing)} is not here: scripts/setup bench" if missing else None


def lack_of_memory(peer, old, new):
    need = peer.memory(old.stat().st_size, new.stat().st_size)
    has = available_memory_bytes() * 3 // 4
    return f"needs {need / 1e9:.1f} GB of memory, {has / 1e9:.1f} GB may be taken" if need > has else None


def available_memory_bytes():
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"^MemAvailable: *(\d+) kB$", text, re.MULTILINE)[1]) * 1024


def versions():
    """{program: version} of what is here, as Debian and pip know it."""
    found = {}
    for program in ("rdiff", "gzip", "xdelta3", "zstd", "bsdiff"):
        query = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", program], capture_output=True, text=True)
        if query.returncode == 0:
            found[program] = query.stdout
    if venv_python().exists():
        query = subprocess.run([venv_python(), "-c", "import importlib.metadata as m; print(m.version('hdiffpatch'))"],
                               capture_output=True, text=True)
        if query.returncode == 0:
            found["hdiffpatch"] = query.stdout.strip()
    return found
