"""What a power cut does to files: as a trace of system calls tells it, or by shutting a file system down."""
import fcntl
import os
import re
import struct
import subprocess
from pathlib import Path

# The ioctl that ext4, xfs, f2fs and others have: end without flushing anything, the journal neither.
FS_IOC_SHUTDOWN = 0x8004587D
GOING_DOWN = 2

# `123 pwrite64(5</path>, ...) = 9`, as strace -y -f writes it.
WRITES = re.compile(r"\b(?:write|pwrite64|ftruncate)\(\d+<([^>]*)>.*= \d")
SYNCS = re.compile(r"\bf(?:data)?sync\(\d+<([^>]*)>\)\s*= 0")
RENAMES = re.compile(r'\brename(?:at2?)?\((?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)", (?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)".*= 0')


class Trace:
    """The log of `strace -f -y` with writes, syncs and renames."""

    def __init__(self, text):
        self.lines = text.splitlines()

    def unsynced_files(self, root):
        """Files under `root`, by the names that they have in the end, whose last bytes were not synced."""
        unsynced = set()
        for line in self.lines:
            if found := WRITES.search(line):
                unsynced.add(found[1])
            elif found := SYNCS.search(line):
                unsynced.discard(found[1])
            elif found := RENAMES.search(line):
                unsynced.discard(found[2])
                if found[1] in unsynced:
                    unsynced.remove(found[1])
                    unsynced.add(found[2])
        inside = os.path.realpath(root) + os.sep
        return [Path(path) for path in sorted(unsynced) if path.startswith(inside) and os.path.isfile(path)]


def shut_down(folder):
    """Cuts a mounted file system off. One that cannot do that (vfat) has its cache dropped instead."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", GOING_DOWN))
    except OSError:
        loop_without_writing(folder)
    finally:
        os.close(descriptor)


def loop_without_writing(folder):
    """Makes the file system's device read-only, so that what is still in memory stays there."""
    source = subprocess.run(["findmnt", "-no", "SOURCE", folder], check=True, capture_output=True, text=True)
    subprocess.run(["blockdev", "--setro", source.stdout.strip()], check=True)
