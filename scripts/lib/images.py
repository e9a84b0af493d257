"""Making images: trees packed as layers, layers as `docker save` of Docker 24 and older writes them."""
import hashlib
import io
import json
import os
import subprocess
import tarfile
from datetime import UTC, datetime


def pack(tree, tar, mtime, clamp):
    """One layer: the tree as a tar that depends on names, modes and contents alone."""
    subprocess.run(["tar", "-C", tree, "-cf", tar, "--sort=name", "--format=posix",
                    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
                    f"--mtime=@{mtime}", *(["--clamp-mtime"] if clamp else []),
                    "--owner=0", "--group=0", "--numeric-owner", *sorted(os.listdir(tree))], check=True)
    return tar


def write_docker_archive(path, name, layers, built_at, architecture="amd64", config=None):
    """Writes an image of these layer files, called `name`; returns what there is to know about it."""
    diff_ids = [file_sha256(layer) for layer in layers]
    text = json.dumps({
        "architecture": architecture, "os": "linux",
        "created": datetime.fromtimestamp(built_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": config or {},
        "history": [{"created_by": f"layer {layer.stem}"} for layer in layers],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + x for x in diff_ids]},
    }).encode()
    image_id = sha256(text)
    repository, version = name.split(":")
    legacy_ids = [sha256(" ".join(diff_ids[:n + 1]).encode()) for n in range(len(layers))]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for n, (legacy_id, layer) in enumerate(zip(legacy_ids, layers)):
            legacy = {"id": legacy_id, **({"parent": legacy_ids[n - 1]} if n else {})}
            add(tar, f"{legacy_id}/", None)
            add(tar, f"{legacy_id}/VERSION", b"1.0")
            add(tar, f"{legacy_id}/json", json.dumps(legacy).encode())
            add_file(tar, f"{legacy_id}/layer.tar", layer)
        add(tar, f"{image_id}.json", text)
        add(tar, "manifest.json", json.dumps([{
            "Config": f"{image_id}.json", "RepoTags": [name],
            "Layers": [f"{x}/layer.tar" for x in legacy_ids]}]).encode())
        add(tar, "repositories", json.dumps({repository: {version: legacy_ids[-1]}}).encode())
    return {"layers": len(layers), "docker_tar_bytes": path.stat().st_size, "image_id": image_id,
            "layer_bytes": sum(layer.stat().st_size for layer in layers), "diff_ids": diff_ids}


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    if data is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def add_file(tar, name, path):
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    with open(path, "rb") as data:
        tar.addfile(member, data)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def file_sha256(path):
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
