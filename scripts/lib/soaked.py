"""The device of scripts/soak: a store that is loaded, pruned, killed and damaged, and the invariants that hold."""
import json
import subprocess
import time

BLOCK_BYTES = 64 << 10
KILLED = -9
ROOT_FILES = {"lock", "oci-layout", "index.json", "silt.json"}
TIMEOUT_SECONDS = 120


class Broken(Exception):
    """Something that must hold does not."""


class Device:
    """A store, and the command run on it."""

    def __init__(self, binary, root, generator):
        self.binary, self.root, self.random = binary, root, generator
        self.seconds = 0.1      # what a load took last: kills come within that
        self.deltas = 0

    # What is done

    def load(self, version, kind, archive, builder, counts):
        """Loads a file, killed now and then on the way, and at last whole."""
        flags = [flag for flag, odds in (("--verify-base", 0.1), ("--repair", 0.1), ("--delete-base", 0.05))
                 if self.random.random() < odds]
        command = ["load", "-i", archive, "--tag", version.name, *flags]
        may_lose = set(self.base_images(version)) if "--delete-base" in flags else set()
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            before = self.images()
            code = self.killed(command)
            counts["loads killed" if code == KILLED else "loads too quick to be killed"] += 1
            self.expect_images(before, version, may_lose)
            self.check(counts)
        before, has_base = self.images(), self.has_layers(version.old_diff_ids) or kind == "full"
        race = ["system", "prune"] if self.random.random() < 0.1 else None
        start = time.monotonic()
        other = self.start(race) if race else None
        run = self.run(*command)
        self.seconds = time.monotonic() - start
        if other:
            if other.wait(TIMEOUT_SECONDS) != 0:
                raise Broken(f"prune beside a load: exit {other.returncode}")
            counts["loads beside a prune"] += 1
        if run.returncode == 4 and kind != "full" and (not has_base or race):
            counts["bases missing"] += 1
            return self.load(version, "full", builder.archive(version, "full"), builder, counts)
        self.must(run, 0)
        if race:
            # The prune may come after the name has moved.
            may_lose |= {image for image, names in before.items() if not set(names) - {version.name}}
        self.expect_images(before, version, may_lose, is_loaded=True)

    def prune(self, counts):
        """Prunes, killed now and then; in the end nothing is left that the index does not imply."""
        if self.random.random() < 0.4:
            code = self.killed(["system", "prune"])
            counts["prunes killed" if code == KILLED else "prunes too quick to be killed"] += 1
            self.check(counts)
        before = self.images()
        planned = json.loads(self.must(self.run("system", "prune", "--dry-run", "--json"), 0))
        done = json.loads(self.must(self.run("system", "prune", "--json"), 0))
        counts["prunes"] += 1
        if planned != done:
            raise Broken(f"prune did {done}, and planned {planned}")
        kept = set(done["kept_bases"]) | {image for image, names in before.items() if names}
        if set(self.images()) != kept:
            raise Broken(f"after a prune there are {sorted(self.images())}, not {sorted(kept)}")
        self.account()

    def remove_one(self, counts):
        """Removes an image, killed now and then."""
        before = self.images()
        if not before:
            return
        image = self.random.choice(sorted(before))
        command = ["image", "rm", "--force", image]
        if self.random.random() < 0.4:
            counts["removals killed"] += self.killed(command) == KILLED
        if image in self.images():
            self.must(self.run(*command), 0)
        if set(self.images()) != set(before) - {image}:
            raise Broken(f"removing {image} took away something else, or not that")
        counts["removals"] += 1
        self.check(counts)

    def tag_one(self, counts):
        images = self.images()
        image = self.random.choice(sorted(images))
        name = f"kept{self.random.randrange(3)}:latest"
        self.must(self.run("image", "tag", image, name), 0)
        counts["tags"] += 1
        if name not in self.images()[image]:
            raise Broken(f"{image} has not got the name {name}")

    def keep_delta(self, counts):
        """Makes a delta here, which keeps its base from being pruned."""
        images = sorted(image for image in self.images() if not self.is_delta(image))
        if len(images) < 2:
            return
        base, target = self.random.sample(images, 2)
        self.deltas = (self.deltas + 1) % 2
        self.must(self.run("image", "delta", base, target, "--level", "fast", "-t", f"delta{self.deltas}:kept"), 0)
        counts["deltas made"] += 1
        self.check(counts)

    def flip_and_repair(self, builder, counts):
        """Flips a bit in a stored file. It is found and named, and where there is a file for it, mended."""
        path = self.random.choice(self.damageable())
        data = bytearray(path.read_bytes())
        at, bit = self.random.randrange(len(data)), self.random.randrange(8)
        whole = bytes(data)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        counts["bits flipped"] += 1
        self.expect_damage(path, at)
        if self.mend(path, at, builder, counts):
            counts["bits mended"] += 1
            self.check(counts)
            # A manifest that was damaged may be left behind by a new one.
            if path in self.damageable() and path.read_bytes() != whole:
                raise Broken(f"{path} was mended to other bytes")
        else:
            path.write_bytes(whole)
            counts["bits flipped back: no file has them"] += 1
        self.check(counts)

    def mend(self, path, at, builder, counts):
        if path.parent.name == "device":
            return False
        digest = "sha256:" + path.name
        image = self.image_of_manifest(digest) or digest
        archives = [builder.full_archive_of(image)]
        if self.random.random() < 0.5:
            archives.insert(0, builder.delta_to(digest))
        archives = [archive for archive in archives if archive]
        for archive in archives:
            command = ["load", "-i", archive, "--repair"]
            if self.random.random() < 0.4:
                counts["repairs killed"] += self.killed(command) == KILLED
                if self.run("image", "verify").returncode == 7:
                    self.expect_damage(path, at)
            run = self.run(*command)
            if run.returncode not in (0, 4, 7):
                raise Broken(f"repair: exit {run.returncode}: {run.stderr.decode()}")
            if self.run("image", "verify").returncode == 0:
                counts["mended by a delta" if archive.suffix == ".delta" else "mended by an archive"] += 1
                return True
            self.expect_damage(path, at)
        if archives and archives[-1].suffix != ".delta":
            raise Broken(f"{path} was not mended by {archives}")
        return False

    # What holds

    def check(self, counts):
        """The store opens, its check passes, and every byte is right."""
        if not self.root.exists():
            return
        start = time.monotonic()
        self.must(self.run("system", "check"), 0)
        self.must(self.run("image", "verify"), 0)
        counts["checks"] += 1
        counts["ms in checks"] += round((time.monotonic() - start) * 1000)

    def expect_images(self, before, version, may_lose=(), is_loaded=False):
        """No image is lost; the name means what it meant, or the new image."""
        now = self.images()
        lost = set(before) - set(now) - set(may_lose)
        added = set(now) - set(before) - {version.id}
        if lost or added:
            raise Broken(f"loading {version.id} lost {lost} and added {added}")
        owner = [image for image, names in now.items() if version.name in names]
        old = [image for image, names in before.items() if version.name in names]
        if is_loaded and owner != [version.id]:
            raise Broken(f"{version.name} means {owner}, not {version.id}")
        if not is_loaded and owner not in (old, [version.id]) and set(old) - set(may_lose):
            raise Broken(f"{version.name} means {owner}, neither {old} nor {version.id}")
        for image, names in before.items():
            missing = set(names) - set(now.get(image, names)) - {version.name}
            if missing:
                raise Broken(f"{image} lost its names {missing}")

    def expect_damage(self, path, at):
        """`verify` names the file, and of a layer the place; no other damage but what that brings."""
        run = self.run("image", "verify", "--json")
        self.must(run, 7, "a flipped bit is not found: ")
        if not run.stdout:      # an index that cannot be read at all
            return self.must_name(path, run.stderr.decode())
        damage = json.loads(run.stdout)["damage"]
        text = json.dumps(damage)
        self.must_name(path, text)
        layers = [it for it in damage if it["part"] == "layer"]
        if path.parent.name == "sha256" and layers:
            ranges = layers[0]["ranges"]
            if len(layers) > 1 or not any(it["start"] <= at < it["end"] for it in ranges):
                raise Broken(f"byte {at} of {path} is not in {ranges}, or more is damaged: {text}")
            files = layers[0]["files"]
            if not any(it["layer_offset"] <= at < it["layer_offset"] + it["end"] - it["start"] for it in files):
                if not self.is_padding(path, at):
                    raise Broken(f"byte {at} of {path} is in none of {files}")

    @staticmethod
    def must_name(path, text):
        if path.name not in text:
            raise Broken(f"a flipped bit in {path} is not named: {text}")

    def account(self):
        """The files that are there are those that the index implies, to the byte; `df` says the same."""
        expected = {name: None for name in ROOT_FILES}
        index = json.loads((self.root / "index.json").read_bytes())
        for entry in index["manifests"]:
            manifest = json.loads(self.blob(entry["digest"]).read_bytes())
            expected[blob_name(entry["digest"])] = entry["size"]
            expected[blob_name(manifest["config"]["digest"])] = manifest["config"]["size"]
            original = manifest.get("annotations", {}).get("io.silt.original-manifest")
            if original:
                expected[blob_name(original)] = None
            for layer in manifest["layers"]:
                size = layer["size"]
                expected[blob_name(layer["digest"])] = size
                if size > BLOCK_BYTES:
                    expected["blocks/" + layer["digest"][7:]] = 72 + 16 * -(-size // BLOCK_BYTES)
        found = {str(path.relative_to(self.root)): path.stat().st_size
                 for path in self.root.rglob("*") if path.is_file()}
        wrong = {name for name, size in expected.items() if size is not None and found.get(name) != size}
        if set(found) != set(expected) or wrong:
            raise Broken(f"leaked: {set(found) - set(expected)}; lost: {set(expected) - set(found)}; sizes: {wrong}")
        usage = json.loads(self.must(self.run("system", "df", "--json"), 0))
        kinds = ("layers", "documents", "bookkeeping", "unreachable", "temporary")
        if sum(usage[kind]["size_bytes"] for kind in kinds) != sum(found.values()):
            raise Broken(f"df says {usage}, and the files have {sum(found.values())} bytes")
        if usage["unreachable"]["files"] or usage["temporary"]["files"] or usage["reclaimable_bytes"]:
            raise Broken(f"after a prune df says {usage}")

    # What is there

    def images(self):
        """Names by image ID."""
        if not self.root.exists():
            return {}
        listed = json.loads(self.must(self.run("image", "ls", "--json"), 0))
        return {image["id"]: image["names"] for image in listed}

    def is_delta(self, image):
        listed = json.loads(self.must(self.run("image", "ls", "--json"), 0))
        return any(it["id"] == image and it["kind"] == "delta" for it in listed)

    def has_layers(self, diff_ids):
        if not self.root.exists():
            return False
        layers = json.loads(self.must(self.run("image", "layers", "--json"), 0))
        return set(diff_ids) <= {layer["diff_id"] for layer in layers}

    def base_images(self, version):
        """The images here with the layers of the version before."""
        if not version.old_id:
            return []
        details = [json.loads(self.must(self.run("image", "inspect", image), 0))[0] for image in self.images()]
        return [it["Id"] for it in details if it["Id"] == version.old_id or it["RootFS"]["Layers"] == version.old_diff_ids]

    def damageable(self):
        """The files of which `verify` reads every byte. The version in silt.json is left alone."""
        index = json.loads((self.root / "index.json").read_bytes())
        paths = {self.root / "index.json", self.root / "oci-layout"}
        for entry in index["manifests"]:
            manifest = json.loads(self.blob(entry["digest"]).read_bytes())
            for item in [entry, manifest["config"], *manifest["layers"]]:
                paths.add(self.blob(item["digest"]))
            # A layer of one block has none.
            blocks = [self.root / "blocks" / layer["digest"][7:] for layer in manifest["layers"]]
            paths |= {path for path in blocks if path.exists()}
        return sorted(paths)

    def image_of_manifest(self, digest):
        index = json.loads((self.root / "index.json").read_bytes())
        images = [entry["annotations"]["io.silt.image-id"] for entry in index["manifests"] if entry["digest"] == digest]
        return images[0] if images else None

    def blob(self, digest):
        return self.root / blob_name(digest)

    @staticmethod
    def is_padding(path, at):
        """Zeros, but for the flipped bit, up to the next multiple of 512: after a file or the end of the tar."""
        data = path.read_bytes()
        end = -(-(at + 1) // 512) * 512
        return not any(data[at + 1:end])

    # Running

    def run(self, *arguments):
        return subprocess.run(self.command(arguments), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT_SECONDS)

    def start(self, arguments):
        return subprocess.Popen(self.command(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def killed(self, arguments):
        """Kills the command at a random moment; gives its exit code, which may be that of its end."""
        process = self.start(arguments)
        time.sleep(self.random.uniform(0, self.seconds))
        process.kill()
        return process.wait()

    def command(self, arguments):
        return [self.binary, "--root", self.root, "-q", *map(str, arguments)]

    @staticmethod
    def must(run, code, text=""):
        if run.returncode != code:
            command = " ".join(map(str, run.args[4:]))
            raise Broken(f"{text}{command}: exit {run.returncode}, not {code}: {run.stderr.decode().strip()}")
        return run.stdout


def blob_name(digest):
    return "blobs/sha256/" + digest[7:]
