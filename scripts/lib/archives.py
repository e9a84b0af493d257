"""Docker archives, read with Python's own tar and compression modules: a second opinion on what Silt writes."""
import bz2
import gzip
import hashlib
import io
import json
import lzma
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

COPY_BYTES = 1 << 20
EMPTY_LAYER = bytes(1024)


@dataclass
class Pair:
    """Two versions of an image, and what is known about them without Silt."""
    name: str
    old: Path
    new: Path
    old_id: str
    new_id: str
    new_diff_ids: list
    engine_delta: Path | None       # made by balenaEngine


def read_pair(folder):
    """A folder with old.docker.tar or old.tar, new….tar and pair.json; or one of testdata/golden."""
    def prefixed(digest):
        return digest if digest.startswith("sha256:") else "sha256:" + digest

    if (folder / "pair.json").exists():
        facts = json.loads((folder / "pair.json").read_text())
        suffix = ".docker.tar" if (folder / "old.docker.tar").exists() else ".tar"
        old, new = facts["old"], facts["new"]
        return Pair(folder.name, folder / f"old{suffix}", folder / f"new{suffix}", prefixed(old["image_id"]),
                    prefixed(new["image_id"]), [prefixed(x) for x in new["diff_ids"]], None)
    facts = json.loads((folder / "manifest.json").read_text())
    base, target = facts["base"], facts["target"]
    return Pair(folder.name, folder / "base.tar", folder / "target.tar", base["id"], target["id"],
                target["diff_ids"], folder / "delta.tar")


class DockerArchive:
    """The images that an archive's manifest.json lists."""

    def __init__(self, path):
        self.tar = tarfile.open(path)
        self.images = json.load(self.tar.extractfile("manifest.json"))

    def config_bytes(self, image):
        return self.tar.extractfile(image["Config"]).read()

    def names(self, image):
        return image.get("RepoTags") or []

    def layers(self, image):
        """The layers' uncompressed bytes, each as an open file."""
        for member in image["Layers"]:
            yield uncompressed(self.tar.extractfile(member))


def uncompressed(stream):
    magic = stream.read(6)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(stream)
    if magic[:3] == b"BZh":
        return bz2.open(stream)
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(stream)
    if magic[:4] == b"\x28\xb5\x2f\xfd":
        return io.BytesIO(subprocess.run(["zstd", "-dcq"], input=stream.read(), stdout=subprocess.PIPE,
                                         check=True).stdout)
    return stream


def digest_of(stream):
    hasher = hashlib.sha256()
    while chunk := stream.read(COPY_BYTES):
        hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def describe(path):
    """[(image ID, diffIDs as hashed, names)] of an archive, by hashing its bytes."""
    archive = DockerArchive(path)
    return [("sha256:" + hashlib.sha256(archive.config_bytes(image)).hexdigest(),
             [digest_of(layer) for layer in archive.layers(image)], archive.names(image))
            for image in archive.images]


def rebuild_with_rdiff(pair, delta_path, scratch):
    """Applies a `balena` delta by rdiff alone; returns the target layers' diffIDs.

    The basis is the concatenation of all base layers. A layer that both images share is the
    empty layer, and is taken from the base."""
    basis = scratch / "basis"
    base = DockerArchive(pair.old)
    base_diff_ids = []
    with open(basis, "wb") as out:
        for layer in base.layers(base.images[0]):
            start = out.tell()
            shutil.copyfileobj(layer, out, COPY_BYTES)
            out.flush()
            with open(basis, "rb") as again:
                again.seek(start)
                base_diff_ids.append(digest_of(again))
    delta = DockerArchive(delta_path)
    found = []
    for index, layer in enumerate(delta.layers(delta.images[0])):
        stored = scratch / "delta-layer.tar"
        with open(stored, "wb") as out:
            shutil.copyfileobj(layer, out, COPY_BYTES)
        if stored.stat().st_size == len(EMPTY_LAYER) and stored.read_bytes() == EMPTY_LAYER:
            found.append(base_diff_ids[index])
            continue
        with tarfile.open(stored) as tar, open(scratch / "delta", "wb") as out:
            shutil.copyfileobj(tar.extractfile("delta"), out, COPY_BYTES)
        subprocess.run(["rdiff", "--force", "patch", basis, scratch / "delta", scratch / "layer"], check=True)
        with open(scratch / "layer", "rb") as patched:
            found.append(digest_of(patched))
    return found
