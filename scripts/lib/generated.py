"""Images that are made up, version after version, and the files that bring a device from one to the next."""
import json
import subprocess
from dataclasses import dataclass, field

from crafted import member, sha256, tar_of

SHARED_LAYERS = 4
MAX_FILE_BYTES = 120_000
KEPT_VERSIONS = 3


@dataclass
class Version:
    """One version of one image."""
    name: str                   # what it is called on the device
    id: str
    diff_ids: list
    old_id: str | None          # the version before
    old_diff_ids: list = field(default_factory=list)


class Builder:
    """Makes versions and files, with a store of its own for the deltas."""

    def __init__(self, binary, work, generator, images):
        self.binary, self.work, self.random = binary, work, generator
        self.root = work / "builder"
        shared = [self.files(3) for _ in range(SHARED_LAYERS)]
        self.layers = [[generator.choice(shared), *(self.files(4) for _ in range(generator.randint(1, 3)))]
                       for _ in range(images)]
        self.versions = [[] for _ in range(images)]
        self.made = 0
        self.holders = {}       # diffID: the ID of an image here that has the layer

    def next_version(self):
        """A new version of some image. Sometimes the shared layer below changes too."""
        image = self.random.randrange(len(self.layers))
        before = self.versions[image]
        if before:
            layers = self.layers[image]
            first = 0 if self.random.random() < 0.1 else 1
            for number in range(first, len(layers)):
                if self.random.random() < 0.7:
                    layers[number] = self.edited(layers[number])
        tars = [tar_of([member(path, data) for path, data in sorted(files.items())]) for files in self.layers[image]]
        diff_ids = ["sha256:" + sha256(tar) for tar in tars]
        config = json.dumps({"architecture": "amd64", "os": "linux", "version": self.made,
                             "config": {"Labels": {"image": str(image)}},
                             "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        old = before[-1] if before else None
        version = Version(f"app{image}:current", "sha256:" + sha256(config), diff_ids,
                          old.id if old else None, old.diff_ids if old else [])
        self.store(version, f"app{image}:v{self.made}", config, tars)
        self.made += 1
        before.append(version)
        return version

    def store(self, version, tag, config, tars):
        entry = {"Config": version.id[7:] + ".json", "RepoTags": [tag],
                 "Layers": [f"{number}/layer.tar" for number in range(len(tars))]}
        members = [member(path, tar) for path, tar in zip(entry["Layers"], tars)]
        members += [member(entry["Config"], config), member("manifest.json", json.dumps([entry]).encode())]
        path = self.work / "version.tar"
        path.write_bytes(tar_of(members))
        self.silt("load", "-i", path)
        self.holders.update({diff_id: version.id for diff_id in version.diff_ids})

    def archive(self, version, kind):
        """A file of the kind that brings the device from the version before to this one."""
        path = self.work / f"update.{kind}"
        if kind == "full":
            compress = self.random.choice(["none", "gzip", "zstd"])
            self.silt("image", "save", "--compress", compress, "-o", path, version.id)
        else:
            self.silt("image", "delta", version.old_id, version.id, "--format", kind, "--level", "fast", "-o", path)
        return path

    def full_archive_of(self, digest):
        """A full archive of the image with this ID or layer, or None where that is forgotten."""
        is_image = any(version.id == digest for versions in self.versions for version in versions)
        image = digest if is_image else self.holders.get(digest)
        if image is None:
            return None
        path = self.work / "repair.tar"
        self.silt("image", "save", "-o", path, image)
        return path

    def delta_to(self, digest):
        """A native delta that makes a layer, from the version before; None where there is none."""
        for versions in self.versions:
            for old, new in zip(versions, versions[1:]):
                if digest in new.diff_ids and digest not in old.diff_ids:
                    path = self.work / "repair.delta"
                    self.silt("image", "delta", old.id, new.id, "--level", "fast", "-o", path)
                    return path
        return None

    def forget_old(self):
        """Keeps the builder's store small."""
        for versions in self.versions:
            for old in versions[:-KEPT_VERSIONS]:
                self.silt("image", "rm", "--force", old.id)
                self.holders = {layer: holder for layer, holder in self.holders.items() if holder != old.id}
            del versions[:-KEPT_VERSIONS]
        for versions in self.versions:
            for version in versions:
                self.holders.update({diff_id: version.id for diff_id in version.diff_ids})

    def silt(self, *arguments):
        command = [self.binary, "--root", self.root, "-q", *map(str, arguments)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if run.returncode != 0:
            raise RuntimeError(f"builder: {arguments}: exit {run.returncode}: {run.stderr.decode()}")
        return run.stdout.decode()

    def files(self, count):
        return {f"dir{self.random.randrange(3)}/file{number}": self.content() for number in range(count)}

    def content(self):
        length = self.random.randint(0, MAX_FILE_BYTES)
        if self.random.random() < 0.5:
            return self.random.randbytes(length)
        line = self.random.randbytes(40).hex().encode() + b"\n"
        return (line * (length // len(line) + 1))[:length]

    def edited(self, files):
        files = dict(files)
        change = self.random.random()
        path = self.random.choice(sorted(files))
        if change < 0.15 and len(files) > 1:
            del files[path]
        elif change < 0.35:
            files[f"new/file{self.random.randrange(1000)}"] = self.content()
        else:
            data = bytearray(files[path])
            for _ in range(self.random.randint(1, 4)):
                at = self.random.randint(0, len(data))
                data[at:at + self.random.randint(0, 20)] = self.random.randbytes(self.random.randint(0, 20))
            files[path] = bytes(data)
        return files
