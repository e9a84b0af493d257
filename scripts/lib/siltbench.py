"""Silt on one pair of images: every kind of delta made, loaded on a device that has only the old image, checked."""
import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass

from archives import COPY_BYTES, DockerArchive, digest_of
from librsync import count_copies
from peers import StepFailed, run_steps


@dataclass(frozen=True)
class Variant:
    """One way of calling `silt image delta`."""
    name: str
    arguments: tuple
    is_quick: bool = False


VARIANTS = (
    Variant("fast", ("--level", "fast"), is_quick=True),
    Variant("default", (), is_quick=True),
    Variant("best", ("--level", "best")),
    Variant("64M", ("--memory", "64M")),
    Variant("balena-fast", ("--format", "balena", "--level", "fast")),
    Variant("balena", ("--format", "balena"), is_quick=True),
    Variant("balena-best", ("--format", "balena", "--level", "best")),
)
JOBS = (1, 2, 8)


class SiltFailed(Exception):
    """Silt refused, or gave something else than the new image."""


def prepare_stores(silt, pair, folder):
    """A store with both images, and one with the old one alone."""
    build, device = folder / "build", folder / "device"
    for store, archive in ((build, pair.old_archive), (build, pair.new_archive), (device, pair.old_archive)):
        succeed(silt.run(store, "image", "load", "-q", "-i", archive))
    return build, device


def run_variant(silt, pair, variant, build, device, folder):
    folder.mkdir()
    delta = folder / "delta.tar"
    try:
        outcome = {"problem": None, **create(silt, pair, variant.arguments, build, delta)}
        outcome["apply"] = load_and_check(silt, pair, delta, device, folder / "device")
        if variant.name == "balena":
            outcome["rdiff_patch"] = apply_with_rdiff(pair, delta, folder)
        return outcome
    except (SiltFailed, StepFailed) as failure:
        return {"problem": str(failure)}
    finally:
        shutil.rmtree(folder)


def create(silt, pair, arguments, build, delta):
    run = succeed(silt.run(build, "image", "delta", pair.old_id, pair.new_id, "-o", delta, "--json", *arguments))
    report = json.loads(run.stdout)
    return {"delta_bytes": delta.stat().st_size, "scratch_bytes": report["scratch_bytes"],
            "kinds": {x["kind"]: x["stored_bytes"] for x in report.get("kinds", [])},
            "create": measurements(run)}


def load_and_check(silt, pair, delta, device, copy):
    # Files of a store are replaced, never rewritten: a copy may share them.
    subprocess.run(["cp", "-al", device, copy], check=True)
    loaded = succeed(silt.run(copy, "image", "load", "-i", delta))
    if silt.image(copy, pair.new_id) != (pair.new_id, pair.new_diff_ids):
        raise SiltFailed("the device does not have the new image")
    for diff_id in pair.new_diff_ids:
        with open(copy / "blobs" / "sha256" / diff_id.removeprefix("sha256:"), "rb") as layer:
            if digest_of(layer) != diff_id:
                raise SiltFailed(f"the device has other bytes for {diff_id}")
    return measurements(loaded)


def same_for_all_jobs(silt, pair, build, folder):
    """Whether the delta is the same for each number of threads."""
    folder.mkdir()
    digests = set()
    for jobs in JOBS:
        delta = folder / f"{jobs}.tar"
        create(silt, pair, ("--jobs", str(jobs)), build, delta)
        with open(delta, "rb") as made:
            digests.add(digest_of(made))
    shutil.rmtree(folder)
    return len(digests) == 1


def apply_with_rdiff(pair, delta, folder):
    """librsync's own program makes the layers of a `balena` delta; in its time we see what COPYs cost others."""
    archive = DockerArchive(delta)
    steps, copies = [], 0
    for number, layer in enumerate(archive.layers(archive.images[0])):
        part, result = folder / f"layer-{number}", folder / "result"
        with tarfile.open(fileobj=layer) as members:
            names = members.getnames()
            if not names:           # the layer that both images share
                continue
            with open(part, "wb") as out:
                shutil.copyfileobj(members.extractfile("delta"), out, COPY_BYTES)
        copies += count_copies(part.read_bytes())
        steps.append(run_steps([["rdiff", "--force", "patch", pair.old, part, result]]))
        with open(result, "rb") as made:
            if digest_of(made) != pair.new_diff_ids[number]:
                raise SiltFailed(f"rdiff patch makes another layer {number + 1} of the delta")
        part.unlink()
    return {"copies": copies, "cpu_seconds": sum(x["cpu_seconds"] for x in steps)}


def measurements(run):
    return {"seconds": run.seconds, "cpu_seconds": run.cpu_seconds, "peak_rss_bytes": run.peak_rss_bytes,
            "written_bytes": run.written_bytes}


def succeed(run):
    if run.code != 0:
        raise SiltFailed(run.last_error())
    return run


def binary_digest(silt):
    return hashlib.sha256(silt.binary.read_bytes()).hexdigest()
