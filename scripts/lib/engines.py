"""Real engines from Debian's packages, each throw-away and with all its state in one folder; root is needed."""
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
from pathlib import Path

PROBE = shutil.which("tini-static") or shutil.which("docker-init")


class EngineError(Exception):
    """An engine or its program failed; the message is its own."""


def run(command, environment=None, check=True, stdin=subprocess.DEVNULL):
    done = subprocess.run([str(x) for x in command], env=environment, stdin=stdin, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise EngineError(f"{command[0]} {command[1]}…: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


class Engine:
    """What the engines have in common."""
    name = ""
    kind = ""
    programs = ()
    is_optional = False
    # A larger image would take too long to be made ready for it.
    largest_bytes = 1 << 40

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.daemon = None
        self.variables = {}

    @classmethod
    def missing(cls):
        return [x for x in cls.programs if not shutil.which(x)]

    def environment(self):
        """What Silt and the engine's own program are told."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SILT_", "DOCKER_", "CONTAINER"))}
        return {**kept, **self.variables}

    def own(self, *arguments, check=True):
        return run(arguments, self.environment(), check)

    def start_daemon(self, command, listening):
        with open(self.folder / "log", "ab") as log:
            self.daemon = subprocess.Popen([str(x) for x in command], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.is_up(listening):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "log").read_text(errors="replace").splitlines()[-5:]
                raise EngineError(f"{self.name} does not start: " + " / ".join(last))
            time.sleep(0.1)

    def is_up(self, listening):
        return listening.exists()

    def start(self):
        pass

    def kill(self):
        """As a machine does that loses its power: with what it started."""
        self.daemon.kill()
        self.daemon.wait()
        self.daemon = None
        helper = self.folder / "exec/containerd/containerd.pid"
        if helper.exists():
            try:
                os.kill(int(helper.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass
        # In memory on a real machine.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
            self.daemon = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Docker(Engine):
    """dockerd with one of its drivers."""
    name = kind = "docker"
    driver = "overlay2"
    more = ()
    programs = ("dockerd", "docker")

    def start(self):
        daemon, _ = self.programs
        socket = self.folder / "sock"
        socket.unlink(missing_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)
        self.variables = {"DOCKER_HOST": f"unix://{socket}"}
        self.start_daemon(
            [daemon, "-H", f"unix://{socket}", "--data-root", self.folder / "data", "--exec-root",
             self.folder / "exec", "--pidfile", self.folder / "pid", "--storage-driver", self.driver,
             "--iptables=false", "--ip6tables=false", "--bridge=none", *self.more], socket)

    def client(self, *arguments, check=True):
        _, client = self.programs
        return self.own(client, *arguments, check=check)

    def is_up(self, listening):
        return listening.exists() and "ID" in self.client("info", check=False)

    def load(self, archive):
        self.client("load", "-q", "-i", archive)

    def image_id(self, name):
        return self.client("image", "inspect", "--format", "{{.Id}}", name, check=False).strip()

    def images(self):
        return sorted(set(self.client("images", "-q", "--no-trunc").split()))

    def remove(self, *names):
        self.client("rmi", "-f", *names)

    def run_probe(self, name):
        return self.client("run", "--rm", "--network", "none", "-v", f"{PROBE}:/probe:ro", "--entrypoint",
                           "/probe", name, "--version")

    def root(self):
        return self.folder / "data"


class DockerVfs(Docker):
    name = "docker-vfs"
    driver = "vfs"


class Podman(Engine):
    name = kind = "podman"
    programs = ("podman", "runc")

    def start(self):
        config = self.folder / "storage.conf"
        config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{self.root()}"\nrunroot = "{self.folder}/run"\n')
        self.variables = {"CONTAINERS_STORAGE_CONF": str(config)}

    def root(self):
        return self.folder / "root"

    def load(self, archive):
        self.own("podman", "load", "-q", "-i", archive)

    def image_id(self, name):
        found = self.own("podman", "image", "inspect", "--format", "{{.Id}}", name, check=False).strip()
        return f"sha256:{found}" if found else ""

    def images(self):
        ids = self.own("podman", "images", "-q", "--no-trunc").split()
        return sorted({x if x.startswith("sha256:") else f"sha256:{x}" for x in ids})

    def remove(self, *names):
        self.own("podman", "rmi", "-f", *names)

    def run_probe(self, name):
        return self.own("podman", "run", "--rm", "--runtime", shutil.which("runc"), "--ulimit", "nofile=1024:1024",
                        "--ulimit", "nproc=1024:1024", "--network", "none", "-v", f"{PROBE}:/probe:ro",
                        "--entrypoint", "/probe", name, "--version")


class Containerd(Engine):
    name = kind = "containerd"
    programs = ("containerd", "ctr", "runc")

    def start(self):
        socket = self.folder / "sock"
        socket.unlink(missing_ok=True)
        (self.folder / "config.toml").write_text(
            f'version = 2\nroot = "{self.root()}"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n')
        self.variables = {"CONTAINERD_ADDRESS": str(socket)}
        self.start_daemon(["containerd", "--config", self.folder / "config.toml"], socket)

    def is_up(self, listening):
        return listening.exists() and "Server:" in self.own("ctr", "version", check=False)

    def root(self):
        return self.folder / "root"

    def load(self, archive):
        self.own("ctr", "images", "import", archive)

    def image_id(self, name):
        """The digest of the config."""
        for line in self.own("ctr", "images", "ls").splitlines()[1:]:
            reference, _, digest = line.split()[:3]
            if reference == f"docker.io/library/{name}":
                return json.loads(self.own("ctr", "content", "get", digest))["config"]["digest"]
        return ""

    def images(self):
        return sorted(self.own("ctr", "images", "ls", "-q").split())

    def remove(self, *names):
        self.own("ctr", "images", "rm", "--sync", *(f"docker.io/library/{x}" for x in names))

    def run_probe(self, name):
        container = f"probe-{time.monotonic_ns()}"
        mount = f"type=bind,src={PROBE},dst=/probe,options=rbind:ro"
        return self.own("ctr", "run", "--rm", "--mount", mount, f"docker.io/library/{name}", container, "/probe",
                        "--version")


class Listener:
    """Stands before a Docker: notes what it is asked, and says for it, if wanted, that it speaks an old version of the API."""

    def __init__(self, engine, path, version=None):
        self.engine, self.version, self.path = engine.folder / "sock", version, path
        self.asked, self.sent_bytes = [], 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        head = client.recv(65536)
        line = head.split(b"\r\n", 1)[0].decode()
        self.asked.append(line)
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(str(self.engine))
        engine.sendall(head)
        self.sent_bytes += len(head)
        if self.version and line.split()[1] == "/version":
            # Each answer ends with its connection.
            answer = b"".join(iter(lambda: engine.recv(65536), b""))
            told = json.loads(answer[answer.index(b"{"):answer.rindex(b"}") + 1])
            body = json.dumps({"Version": told["Version"], "ApiVersion": self.version}).encode()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            client.close()
            return
        back = threading.Thread(target=self.pump, args=(engine, client), daemon=True)
        back.start()
        self.sent_bytes += self.pump(client, engine)
        back.join()

    @staticmethod
    def pump(source, target):
        passed = 0
        try:
            while chunk := source.recv(65536):
                target.sendall(chunk)
                passed += len(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return passed

    def versions(self):
        return {line.split()[1].split("/")[1] for line in self.asked if line.split()[1] != "/version"}


def compress_gzip(contents):
    return gzip.compress(contents, 6, mtime=0)


def compress_zstd(contents):
    """In frames of a mebibyte, as in seekable archives."""
    pieces = [contents[at:at + (1 << 20)] for at in range(0, len(contents), 1 << 20)]
    return b"".join(subprocess.run(["zstd", "-qc"], input=x, stdout=subprocess.PIPE, check=True).stdout for x in pieces)


def pack(archive, packed, name, media_type, compress):
    """An oci-archive of the same image with every layer compressed; its config stays as it is."""
    with tarfile.open(archive) as old, tarfile.open(packed, "w") as new:
        image = json.load(old.extractfile("manifest.json"))[0]

        def add(path, contents):
            member = tarfile.TarInfo(path)
            member.size = len(contents)
            new.addfile(member, io.BytesIO(contents))

        def blob(media_type, contents):
            digest = hashlib.sha256(contents).hexdigest()
            add(f"blobs/sha256/{digest}", contents)
            return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}",
                    "size": len(contents)}

        layers = [blob(media_type, compress(old.extractfile(x).read())) for x in image["Layers"]]
        config = blob("config.v1+json", old.extractfile(image["Config"]).read())
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                    "layers": layers}
        listed = blob("manifest.v1+json", json.dumps(manifest).encode())
        listed["annotations"] = {"io.containerd.image.name": name}
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": [listed]}).encode())
        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


class ContainerdGzip(Containerd):
    """Its images come as from a registry: with compressed layers."""
    name = "containerd-gzip"
    compressed = ("layer.v1.tar+gzip", compress_gzip)

    def load(self, archive):
        name, tag = archive.parent.name, archive.name.split(".")[0]
        packed = self.folder / "packed.tar"
        pack(archive, packed, f"docker.io/library/{name}:{tag}", *self.compressed)
        self.own("ctr", "images", "import", packed)
        packed.unlink()


class ContainerdZstd(ContainerdGzip):
    """The same with zstd, in frames."""
    name = "containerd-zstd"
    programs = ("containerd", "ctr", "runc", "zstd")
    compressed = ("layer.v1.tar+zstd", compress_zstd)
    largest_bytes = 16 << 20


class BalenaStandIn(Docker):
    """A dockerd that says it is a balenaEngine, to see what that is sent."""
    name = "balena-stand-in"
    more = ("--init-path", "/nowhere/balena-engine-init")


class Balena(Docker):
    """A real balenaEngine, where there is one: it is no package of Debian's."""
    name = "balena"
    programs = ("balena-engine-daemon", "balena-engine")
    is_optional = True

    def make_delta(self, old, new, archive):
        """The engine's own delta, saved as it does it."""
        self.client("image", "delta", "--tag", "own:delta", old, new)
        self.client("save", "-o", archive, "own:delta")


ENGINES = {engine.name: engine for engine in (Docker, DockerVfs, Podman, Containerd, ContainerdGzip, ContainerdZstd, Balena)}
