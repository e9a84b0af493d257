"""Two versions of an image as files that any delta program can work on."""
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from archives import COPY_BYTES, DockerArchive


@dataclass
class UnpackedPair:
    """An image pair, its layers concatenated. Layers that both have are in `old` alone."""
    name: str
    versions: str               # what is in it, as its maker said
    old_archive: Path
    new_archive: Path
    old_id: str
    new_id: str
    new_diff_ids: list
    old: Path
    new: Path


def find_pairs(folder, names):
    """The folders in `folder` with old.docker.tar (or old.tar) in them; all, or those that are named."""
    found = {x.parent.name: x.parent for x in sorted(folder.glob("*/old*.tar"))}
    unknown = set(names) - set(found)
    if unknown or not found:
        raise LookupError(f"{folder}: no such pair: {' '.join(sorted(unknown)) or 'none at all'}")
    return [found[x] for x in names or found]


def unpack_pair(folder, scratch):
    suffix = ".docker.tar" if (folder / "old.docker.tar").exists() else ".tar"
    archives = [folder / f"{label}{suffix}" for label in ("old", "new")]
    old_id, old_diff_ids = write_layers(archives[0], scratch / "old", known=None)
    new_id, new_diff_ids = write_layers(archives[1], scratch / "new", known=old_diff_ids)
    facts = folder / "pair.json"
    versions = json.loads(facts.read_text()).get("versions", "") if facts.exists() else ""
    return UnpackedPair(folder.name, versions, *archives, old_id, new_id, new_diff_ids,
                        scratch / "old", scratch / "new")


def write_layers(archive_path, path, known):
    """Writes all layers, or each that is not `known` once; gives the image ID and all diffIDs."""
    archive = DockerArchive(archive_path)
    image = archive.images[0]
    diff_ids, written = [], set(known or ())
    with open(path, "wb") as out:
        for layer in archive.layers(image):
            start, hasher = out.tell(), hashlib.sha256()
            while chunk := layer.read(COPY_BYTES):
                hasher.update(chunk)
                out.write(chunk)
            diff_ids.append("sha256:" + hasher.hexdigest())
            if known is not None and diff_ids[-1] in written:
                out.seek(start)
                out.truncate()
            written.add(diff_ids[-1])
    return "sha256:" + hashlib.sha256(archive.config_bytes(image)).hexdigest(), diff_ids
