"""Packages of Debian, PyPI and npm as parts of image layers: fetched by their own clients, unpacked, never run."""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from siltrun import need_programs

BUILT_AT = {"old": 1717000000, "new": 1722000000}       # seconds since the epoch
UPDATE = ("bookworm", "bookworm-security")
UPGRADE = ("bookworm", "trixie")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Debian:
    """Packages of Debian, for the older image of the first suite and for the newer one of the second; without suites,
    the same for both. Those of an architecture that is named are found without what this system's apt knows."""
    packages: tuple
    suites: tuple = UPDATE
    architecture: str = ""

    def fetch(self, side, cache):
        suite = f"/{self.suites[side == 'new']}" if self.suites else ""
        architecture = f":{self.architecture}" if self.architecture else ""
        wanted = [package + architecture + suite for package in self.packages]
        environment = dict(os.environ)
        if self.architecture:
            name = "-".join(("apt", self.architecture, *self.suites))
            environment["APT_CONFIG"] = str(self.lists(cache.parent.parent / name))
        return download(cache, wanted, ["apt-get", "-qq", "-o", "APT::Sandbox::User=root",
                                        "-o", "Acquire::Retries=3", "download", *wanted], environment)

    def lists(self, folder):
        """The configuration of an apt that has the lists of both suites in `folder`."""
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sources, config, stamp = (folder / name for name in ("sources.list", "apt.conf", "updated"))
        if not stamp.exists():
            archives = {"bookworm-security": "debian-security"}
            sources.write_text("".join(
                f"deb [signed-by={KEYS}] http://deb.debian.org/{archives.get(x, 'debian')} {x} main\n"
                for x in self.suites))
            (folder / "status").touch()
            config.write_text(f'''Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "-";
Dir::State "{folder}"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";
APT::Architecture "{self.architecture}"; APT::Architectures {{"{self.architecture}";}}; Acquire::Languages "none";
''')
            run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any", "update"],
                folder, dict(os.environ, APT_CONFIG=str(config)))
            stamp.touch()
        return config

    def unpack(self, files, tree, side):
        for file in files:
            subprocess.run(["dpkg-deb", "-x", file, tree], check=True)

    def versions(self, files):
        return [" ".join(unquote(file.name).split("_")[:2]) for file in files]


@dataclass(frozen=True)
class Wheels:
    """Packages of PyPI as `pip install` leaves them, with compiled modules."""
    old: tuple
    new: tuple
    platforms: tuple = tuple(f"manylinux{x}_x86_64" for x in ("_2_28", "_2_27", "2014", "_2_17"))
    folder = "usr/local/lib/python3.11/dist-packages"

    def fetch(self, side, cache):
        wanted = getattr(self, side)
        return download(cache, wanted, [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3",
            "--abi=none", *(f"--platform={x}" for x in self.platforms), "--platform=any", *wanted])

    def unpack(self, files, tree, side):
        for file in files:
            with zipfile.ZipFile(file) as archive:
                archive.extractall(tree / self.folder)
        # A compiled module holds the time of its source.
        for source in tree.rglob("*.py"):
            os.utime(source, (BUILT_AT[side], BUILT_AT[side]))
        subprocess.run([sys.executable, "-m", "compileall", "-q", "-s", tree, "-p", "/", tree],
                       stdout=subprocess.DEVNULL)       # some packages hold templates that do not compile

    def versions(self, files):
        return [" ".join(file.name.split("-")[:2]) for file in files]


@dataclass(frozen=True)
class NpmTree:
    """Packages of npm, side by side in node_modules. What they depend on comes only where it is named."""
    old: tuple
    new: tuple
    folder = "srv/service/node_modules"

    def fetch(self, side, cache):
        need_programs("npm")
        wanted = getattr(self, side)
        return download(cache, wanted, ["npm", "pack", "--loglevel=error", *wanted])

    def unpack(self, files, tree, side):
        for file in files:
            folder = tree / self.folder / package_facts(file)["name"]
            folder.mkdir(parents=True)
            subprocess.run(["tar", "-xzf", file, "-C", folder, "--strip-components=1"], check=True)

    def versions(self, files):
        return ["{name} {version}".format_map(package_facts(file)) for file in files]


def package_facts(file):
    with tarfile.open(file) as tar:
        member = min((x for x in tar.getmembers() if x.name.endswith("/package.json")), key=lambda x: len(x.name))
        return json.load(tar.extractfile(member))


@dataclass(frozen=True)
class NpmPackage:
    """The files of one npm package, in a folder."""
    name: str
    old: str
    new: str
    folder: str

    def fetch(self, side, cache):
        need_programs("npm")
        wanted = f"{self.name}@{getattr(self, side)}"
        return download(cache, [wanted], ["npm", "pack", "--loglevel=error", wanted])

    def unpack(self, files, tree, side):
        (tree / self.folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            subprocess.run(["tar", "-xzf", file, "-C", tree / self.folder, "--strip-components=1"], check=True)

    def versions(self, files):
        return ["{name} {version}".format_map(package_facts(file)) for file in files]


@dataclass(frozen=True)
class Code:
    """The service's own files, one of which differs."""
    name: str
    text: str

    def fetch(self, side, cache):
        return []

    def unpack(self, files, tree, side):
        (tree / "srv").mkdir(parents=True, exist_ok=True)
        (tree / "srv" / self.name).write_text(self.text.replace("VERSION", side))
        (tree / "srv" / "README").write_text("The service itself.\n")

    def versions(self, files):
        return []


def run(command, folder, environment):
    if subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{Path(sys.argv[0]).name}: failed: {' '.join(command)}\n"
                 "hint: the first run needs a network, and for packages of this architecture Debian's lists "
                 "(scripts/setup lists)")


def download(cache, wanted, command, environment=None):
    """The files that `command` fetches; those of an earlier time, when a list beside them says that they are the same."""
    stamp, text = cache / "wanted.txt", "\n".join(wanted)
    if not stamp.exists() or stamp.read_text() != text:
        print(f"  downloading {' '.join(wanted)}", flush=True)
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        run(command, cache, environment)
        stamp.write_text(text)
    return sorted(path for path in cache.iterdir() if path != stamp)
