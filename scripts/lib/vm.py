"""A Debian system in qemu, for what containers cannot show: udev, sticks, vfat. And sticks, as files on this side."""
import base64
import hashlib
import json
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGES = "systemd-sysv udev dbus kmod mount dosfstools fdisk linux-image-amd64 initramfs-tools".split()
SECTOR_BYTES = 512
# A drive of a machine that has no medium, for a reader.
EMPTY_DRIVE = "card"
# Where partitioning tools begin.
PARTITION_SECTOR = 2048
SHELL = r"""#!/bin/bash
# One command in a line comes in, base64; its exit code and output go out.
while :; do
  while IFS= read -r line; do
    output=$(base64 -d <<<"$line" | bash 2>&1)
    printf '%s %s\n' $? "$(base64 -w0 <<<"$output")" >&3
  done <&3
  sleep 1
done 3<>/dev/virtio-ports/silt.shell
"""
SHELL_UNIT = """[Unit]
After=multi-user.target
[Service]
ExecStart=/usr/local/bin/vm-shell
# Whatever tests start outlives them, but not the machine.
KillMode=process
OOMScoreAdjust=-900
[Install]
WantedBy=dev-virtio\\x2dports-silt.shell.device
"""
SHELL_RULE = 'SUBSYSTEM=="virtio-ports", ATTR{name}=="silt.shell", TAG+="systemd", SYMLINK+="virtio-ports/silt.shell"\n'


class VmError(Exception):
    """The machine itself did not do what it should."""


@dataclass
class Answer:
    """How a command ended in the machine."""
    code: int
    output: str


def build_root(folder):
    """Debian of this machine's release, as (kernel, initrd, image of the root file system); made once."""
    release = next(line.partition("=")[2].strip() for line in Path("/etc/os-release").read_text().splitlines()
                   if line.startswith("VERSION_CODENAME="))
    recipe = json.dumps([release, PACKAGES, SHELL, SHELL_UNIT, SHELL_RULE])
    made = folder / f"root-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    files = made / "vmlinuz", made / "initrd.img", made / "root.img"
    if made.exists():
        return files
    print(f"  making a root file system of Debian {release}", flush=True)
    scratch, tree = folder / "making", folder / "making" / "tree"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    modules = 'mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vm"; ' \
        'printf "virtio_pci\\nvirtio_blk\\next4\\n" >"$1/etc/initramfs-tools/modules"'
    run("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--include=" + ",".join(PACKAGES),
        "--essential-hook=" + modules, "--dpkgopt=path-exclude=/usr/share/doc/*", release, tree)
    (tree / "etc/hostname").write_text("board-7\n")
    (tree / "etc/udev/rules.d/90-vm-shell.rules").write_text(SHELL_RULE)
    (tree / "etc/systemd/system/vm-shell.service").write_text(SHELL_UNIT)
    (tree / "usr/local/bin/vm-shell").write_text(SHELL)
    (tree / "usr/local/bin/vm-shell").chmod(0o755)
    run("systemctl", "--quiet", "--root", tree, "enable", "vm-shell.service")
    for file in ("vmlinuz", "initrd.img"):
        shutil.copy(next((tree / "boot").glob(file + "-*")), scratch / file)
    run("mkfs.ext4", "-qF", "-d", tree, scratch / "root.img", "3G")
    shutil.rmtree(tree)
    scratch.rename(made)
    return files


def run(*command, **options):
    """Runs a program of this machine; what it prints matters only where it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        raise VmError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Machine:
    """A running machine with a USB controller. Its disk forgets everything when it ends."""

    def __init__(self, root, disks, folder, accelerator, memory="512M"):
        kernel, initrd, image = root
        # The paths of sockets have at most 107 bytes.
        self.sockets, self.console = Path(tempfile.mkdtemp(prefix="vm-")), folder / "console.log"
        command = [
            "nice", "qemu-system-x86_64", "-accel", accelerator, "-smp", "1", "-m", memory, "-nodefaults", "-display", "none",
            "-kernel", kernel, "-initrd", initrd, "-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0",
            "-serial", f"file:{self.console}", "-qmp", f"unix:{self.sockets}/qmp,server=on,wait=off",
            "-drive", f"file={image},if=virtio,format=raw,snapshot=on,cache=unsafe",
            *(word for disk in disks for word in ("-drive", f"file={disk},if=virtio,format=raw,snapshot=on,cache=unsafe")),
            "-drive", f"if=none,id={EMPTY_DRIVE}",
            "-device", "virtio-serial", "-chardev", f"socket,id=shell,path={self.sockets}/shell,server=on,wait=off",
            "-device", "virtserialport,chardev=shell,name=silt.shell", "-device", "qemu-xhci,id=usb"]
        self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL)
        self.qmp, self.shell = None, None

    def __enter__(self):
        try:
            self.qmp = connect(self.sockets / "qmp").makefile("rw")
            self.qmp.readline()
            self.command("qmp_capabilities")
            self.shell = connect(self.sockets / "shell")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.sockets)

    def command(self, name, **arguments):
        """A command to qemu itself."""
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline() or '{"error": "qemu has gone"}')
            if "error" in answer:
                raise VmError(f"{name}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def run(self, command, timeout_seconds=300):
        """Runs a shell command in the machine."""
        self.shell.settimeout(timeout_seconds)
        self.shell.sendall(base64.b64encode(command.encode()) + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            try:
                more = self.shell.recv(1 << 16)
            except TimeoutError:
                more = b""
            if not more:
                tail = self.console.read_text(errors="replace")[-2000:]
                raise VmError(f"no answer to {command!r}; the console's end:\n{tail}")
            answer += more
        code, _, output = answer.decode().strip().partition(" ")
        return Answer(int(code), base64.b64decode(output).decode(errors="replace").rstrip("\n"))

    def must(self, command, timeout_seconds=300):
        """Runs what cannot fail, and gives its output."""
        answer = self.run(command, timeout_seconds)
        if answer.code:
            raise VmError(f"{command}: exit {answer.code}: {answer.output}")
        return answer.output

    def wait_for(self, condition, timeout_seconds=120):
        """Waits until a shell command succeeds; whether it did."""
        loop = f"for ((i = 0; i < {timeout_seconds * 5}; i++)); do if {condition}; then exit 0; fi; sleep 0.2; done; exit 1"
        return self.run(loop, timeout_seconds * 3).code == 0

    def wait_for_boot(self):
        self.must("systemctl is-system-running --wait || true", 600)

    def cut_power(self):
        """What was not synced is lost to the machine's memory; sticks stay where they are."""
        self.command("system_reset")
        # The old shell's answers end with it.
        self.shell.close()
        self.shell = connect(self.sockets / "shell")
        self.wait_for_boot()

    def plug(self, stick, is_read_only=False, bytes_per_second=0):
        """Inserts a stick."""
        name = stick.name
        self.command("object-add", **{"qom-type": "throttle-group", "id": f"{name}-pace",
                                      "limits": {"bps-total": bytes_per_second}})
        # Zeros become holes, so that large sticks take no room.
        file = {"driver": "file", "filename": str(stick.path), "discard": "unmap"}
        self.command("blockdev-add", **{
            "driver": "throttle", "node-name": f"{name}-node", "throttle-group": f"{name}-pace", "read-only": is_read_only,
            "discard": "unmap", "detect-zeroes": "off" if is_read_only else "unmap",
            "file": {"driver": "raw", "read-only": is_read_only, "file": {**file, "read-only": is_read_only}}})
        self.command("device_add", driver="usb-storage", id=name, bus="usb.0", drive=f"{name}-node", removable=True)

    def pace(self, stick, bytes_per_second):
        """How fast a stick is from now on; 0 is as fast as it can."""
        self.command("qom-set", path=f"/objects/{stick.name}-pace", property="limits",
                     value={"bps-total": bytes_per_second})

    def pull(self, stick):
        """Pulls a stick out, whatever is going on."""
        self.command("device_del", id=stick.name)
        for _ in range(100):
            try:
                self.command("blockdev-del", node_name=f"{stick.name}-node")
                break
            except VmError:
                time.sleep(0.1)
        self.command("object-del", id=f"{stick.name}-pace")


def connect(path):
    """The socket of a qemu that may only just be starting."""
    for _ in range(100):
        try:
            opened = socket.socket(socket.AF_UNIX)
            opened.connect(str(path))
            return opened
        except OSError:
            opened.close()
            time.sleep(0.1)
    raise VmError(f"nobody listens at {path}")


class Stick:
    """A stick with one FAT file system. It is written and read here by mtools and fsck.vfat, not by a kernel."""

    def __init__(self, path, megabytes, label="SILT-UPDATE", is_partitioned=True, fat_bits=None):
        self.path, self.name = path, path.stem
        self.sector = PARTITION_SECTOR if is_partitioned else 0
        sectors = (megabytes << 20) // SECTOR_BYTES
        path.unlink(missing_ok=True)
        with open(path, "wb") as file:
            file.truncate((self.sector + sectors) * SECTOR_BYTES)
            if is_partitioned:
                file.seek(446)
                # One entry: not bootable, FAT32 with LBA.
                file.write(struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x0c, b"\xfe\xff\xff", self.sector, sectors))
                file.seek(510)
                file.write(b"\x55\xaa")
        size = ["-F", fat_bits] if fat_bits else []
        # Without --mbr=no, mkfs.vfat makes a table of its own on what looks like a whole disk.
        run("mkfs.vfat", "--mbr=no", "-n", label, *size, "--offset", self.sector, path, sectors // 2)
        self.image = f"{path}@@{self.sector * SECTOR_BYTES}"

    def put(self, file, name=None):
        run("mcopy", "-o", "-i", self.image, file, "::" + (name or Path(file).name))
        return self

    def names(self):
        """All files, hidden ones too."""
        listed = run("mdir", "-a", "-b", "-i", self.image, "::")
        return sorted(line.removeprefix("::/") for line in listed.splitlines() if line)

    def read(self, name):
        done = subprocess.run(["mcopy", "-n", "-i", self.image, "::" + name, "-"], capture_output=True, check=False)
        if done.returncode:
            raise VmError(f"{self.path} has no {name}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def free_bytes(self):
        last = run("mdir", "-i", self.image, "::").rstrip().splitlines()[-1]
        return int(re.sub(r"\D", "", last))

    def reports(self):
        """The records on it, the oldest first."""
        return [json.loads(self.read(x)) for x in self.names() if x.startswith("silt-report-")]

    def complaints(self):
        """What fsck.vfat finds, which also tells whether it was unmounted."""
        part = self.path.with_suffix(".part")
        with open(self.path, "rb") as whole, open(part, "wb") as file:
            whole.seek(self.sector * SECTOR_BYTES)
            shutil.copyfileobj(whole, file, 1 << 20)
        done = subprocess.run(["fsck.vfat", "-n", part], capture_output=True, text=True, check=False)
        part.unlink()
        return "" if done.returncode == 0 else done.stdout
