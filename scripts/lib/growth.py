"""How time and memory grow with the input: images of an eighth, a quarter, a half and all of the files of real pairs."""
import hashlib
import re
import shutil
import tarfile
from dataclasses import dataclass

from archives import DockerArchive
from images import write_docker_archive
from pairs import unpack_pair
from peers import PEERS, run_peer
from siltbench import Variant, prepare_stores, run_variant

PARTS = 8
TIMES = (1, 2, 4, 8)
BLOCK_BYTES = 512
TAR_END = bytes(2 * BLOCK_BYTES)
PEER_NAMES = ("xdelta3", "hdiffpatch")
VARIANTS = (Variant("fast", ("--level", "fast")), Variant("default", ()), Variant("64M", ("--memory", "64M")))


@dataclass
class Member:
    """A tar member as it lies in a layer, with its extended headers and padding."""
    key: str            # the same for two versions of a file
    start: int
    end: int
    digest: bytes       # of what it holds


def measure(silt, folders, peers, work):
    """Old and new are shared out by file names, so that each part has both versions of its files."""
    sides = {label: [layer for folder in folders for layer in copy_layers(folder, label, work)]
             for label in ("old", "new")}
    part_of = share_out(*([member for _, members in layers for member in members] for layers in sides.values()))
    points = []
    for times in TIMES:
        folder = work / f"times-{times}"
        folder.mkdir()
        for label, layers in sides.items():
            write_image(layers, lambda member: part_of[member.key] < times, folder, label)
        points.append({"times": times, **measure_point(silt, folder, peers, work / "point")})
        shutil.rmtree(folder)
    return {"pairs": [x.name for x in folders], "points": points}


def copy_layers(folder, label, work):
    """[(layer file, members)] of one image."""
    suffix = ".docker.tar" if (folder / "old.docker.tar").exists() else ".tar"
    archive = DockerArchive(folder / f"{label}{suffix}")
    layers = []
    for number, layer in enumerate(archive.layers(archive.images[0])):
        path = work / f"{folder.name}-{label}-{number}.tar"
        with open(path, "wb") as out:
            shutil.copyfileobj(layer, out)
        layers.append((path, list_members(path, folder.name)))
    return layers


def list_members(path, pair):
    members = []
    with tarfile.open(path, "r:") as tar:
        for info in tar:
            end = info.offset_data + (-(-info.size // BLOCK_BYTES) * BLOCK_BYTES if info.isreg() else 0)
            content = tar.extractfile(info).read() if info.isreg() else b""
            members.append(Member(pair + "/" + re.sub("[0-9]+", "0", info.name), info.offset, end,
                                  hashlib.sha256(content).digest()))
    return members


def share_out(old, new):
    """{key: number of its part}. Work goes with what has changed: files that have are shared out for themselves, and the
    others too, so that each part has as much of both."""
    before, after = contents(old), contents(new)
    sizes = {}
    for member in (*old, *new):
        sizes[member.key] = sizes.get(member.key, 0) + member.end - member.start
    has_changed = {key: before.get(key) != after.get(key) for key in sizes}
    return {key: part for kind in (True, False)
            for key, part in share_evenly({x: sizes[x] for x in sizes if has_changed[x] == kind}).items()}


def contents(members):
    found = {}
    for member in members:
        found.setdefault(member.key, set()).add(member.digest)
    return found


def share_evenly(sizes):
    """{key: number of its part}, the parts being as equal as they can: the largest first, to the smallest part."""
    filled, part_of = [0] * PARTS, {}
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        part_of[key] = filled.index(min(filled))
        filled[part_of[key]] += sizes[key]
    return part_of


def write_image(layers, is_chosen, folder, label):
    paths = []
    for source, members in layers:
        path = folder / f"{label}-{source.name}"
        with open(source, "rb") as data, open(path, "wb") as out:
            for member in filter(is_chosen, members):
                data.seek(member.start)
                out.write(data.read(member.end - member.start))
            out.write(TAR_END)
        paths.append(path)
    write_docker_archive(folder / f"{label}.docker.tar", f"growth:{label}", paths, built_at=0)
    for path in paths:
        path.unlink()


def measure_point(silt, folder, peers, work):
    work.mkdir()
    pair = unpack_pair(folder, work)
    build, device = prepare_stores(silt, pair, work)
    runs = {x.name: run_variant(silt, pair, x, build, device, work / "run") for x in VARIANTS}
    for peer in PEERS:
        if peer.name in PEER_NAMES and peer.name in peers:
            runs[peer.name] = run_peer(peer, pair.old, pair.new, work / "run")
    point = {"old_bytes": pair.old.stat().st_size, "new_bytes": pair.new.stat().st_size, "runs": runs}
    shutil.rmtree(work)
    return point
