"""Silt's `balena` deltas beside those that balenaEngine itself made, as they lie in testdata/golden."""
import gzip
import shutil

from archives import read_pair
from siltbench import succeed


def measure(silt, folder, work):
    """{name: bytes of balenaEngine's archive after gzip -6, and of ours as saved}"""
    found = {}
    for manifest in sorted(folder.glob("*/manifest.json")):
        pair = read_pair(manifest.parent)
        store, delta = work / f"golden-{pair.name}", work / f"golden-{pair.name}.tar"
        for archive in (pair.old, pair.new):
            succeed(silt.run(store, "image", "load", "-q", "-i", archive))
        succeed(silt.run(store, "image", "delta", pair.old_id, pair.new_id, "--format", "balena", "-o", delta))
        theirs = gzip.compress(pair.engine_delta.read_bytes(), compresslevel=6)
        found[pair.name] = {"balena_engine_bytes": len(theirs), "balena_bytes": delta.stat().st_size}
        shutil.rmtree(store)
        delta.unlink()
    return found
