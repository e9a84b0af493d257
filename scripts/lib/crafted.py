"""Archives that an enemy might write. Each case says which exit codes are right for it."""
import gzip
import hashlib
import io
import json
import lzma
import struct
import tarfile
import zlib
from dataclasses import dataclass, field

DAMAGED = frozenset({5})
NO_MEMORY = frozenset({6})
DONE = frozenset({0})
BLOCK_BYTES = 512
HUGE = 1 << 63


@dataclass
class Case:
    """One file to load. With exit code 0 the device must afterwards have `images` under `names`."""
    name: str
    data: bytes
    codes: frozenset
    device: str = "base"                            # which prepared store it is loaded into
    images: dict = field(default_factory=dict)      # image ID: diffIDs
    names: dict = field(default_factory=dict)       # name: image ID


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Image:
    """A small image as a list of tar members, to be spoiled before it is written."""

    def __init__(self, label="evil", layers=None):
        self.layers = layers or [tar_of([member(f"{label}-{n}", label.encode() * 40)]) for n in range(2)]
        self.diff_ids = ["sha256:" + sha256(x) for x in self.layers]
        self.config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"label": label}},
                       "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)}}
        self.paths = [f"{label}-layer-{n}/layer.tar" for n in range(len(self.layers))]
        self.tags = [f"{label}:crafted"]

    @property
    def config_bytes(self):
        return json.dumps(self.config).encode()

    @property
    def id(self):
        return "sha256:" + sha256(self.config_bytes)

    def entry(self, **changes):
        return {"Config": self.id[7:] + ".json", "RepoTags": self.tags, "Layers": self.paths, **changes}

    def layer_members(self):
        return [member(path, layer) for path, layer in zip(self.paths, self.layers)]

    def config_member(self):
        return member(self.id[7:] + ".json", self.config_bytes)

    def archive(self, manifest=None, extra=()):
        if manifest is None:
            manifest = json.dumps([self.entry()]).encode()
        return tar_of([*self.layer_members(), self.config_member(), *extra, member("manifest.json", manifest)])


def member(name, data=b"", type_=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = type_, link, len(data)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % BLOCK_BYTES)


def sized(name, size_field, data):
    """A member with any 12 bytes as its size, and a right checksum."""
    head = bytearray(member(name)[:BLOCK_BYTES])
    head[124:136] = size_field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % BLOCK_BYTES)


def pax(records, name, data):
    """A member behind a PAX header with these records."""
    body = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + len(str(len(line)))
        length = len(line) + len(str(length))
        body += str(length).encode() + line
    return member("PaxHeaders/x", body, tarfile.XHDTYPE) + member(name, data)


def base256(number):
    return b"\x80" + number.to_bytes(11, "big")


def tar_of(members):
    return b"".join(members) + bytes(2 * BLOCK_BYTES)


def not_archives():
    noise = hashlib.shake_256(b"noise").digest(5000)
    for name, data in {
        "an empty file": b"", "one byte": b"x", "text": b"this is no archive\n" * 100, "noise": noise,
        "zeros": bytes(10240), "a PNG": b"\x89PNG\r\n\x1a\n" + noise, "gzip of text": gzip.compress(b"text" * 900),
        "a gzip header alone": b"\x1f\x8b\x08", "a tar without a manifest": tar_of([member("etc/motd", b"hello")]),
    }.items():
        yield Case(name, data, DAMAGED)


def manifests():
    image = Image()
    for name, manifest in {
        "no images": b"[]", "an object": b"{}", "not JSON": b"[{", "Layers is null": [image.entry(Layers=None)],
        "Config is a number": [image.entry(Config=5)], "no Config": [{"Layers": image.paths}],
        "JSON nested 100,000 deep": b"[" * 100_000, "a config that is missing": [image.entry(Config="none.json")],
        "a layer that is missing": [image.entry(Layers=[image.paths[0], "missing/layer.tar"])],
        "more layers than diffIDs": [image.entry(Layers=image.paths + image.paths[:1])],
        "more diffIDs than layers": [image.entry(Layers=image.paths[:1])],
        "layers exchanged": [image.entry(Layers=image.paths[::-1])],
        "a tag that is no name": [image.entry(RepoTags=["Not A Name!"])],
        "a config under a wrong digest": [image.entry(Config="0" * 64 + ".json")],
    }.items():
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        extra = [member("0" * 64 + ".json", image.config_bytes)]
        yield Case(f"manifest: {name}", image.archive(data, extra), DAMAGED)
    yield Case("manifest: 256 MiB of blanks", gzip.compress(image.archive(b" " * (256 << 20)), 1), DAMAGED)
    opaque = Image("opaque", [b"not a tar at all" * 100])
    yield Case("a layer that is no tar is opaque bytes", opaque.archive(), DONE,
               images={opaque.id: opaque.diff_ids}, names={"opaque:crafted": opaque.id})
    wrong = Image()
    wrong.layers[1] = wrong.layers[1].replace(b"evil" * 4, b"good" * 4)
    yield Case("a layer with other bytes than its diffID", wrong.archive(), DAMAGED)


def member_names(outside):
    """Members that want to be elsewhere; `outside` is a folder where nothing may appear."""
    image = Image()
    for name, path in {"with ..": "../../evil/layer.tar", "with .. in the middle": "a/../../../evil/layer.tar",
                       "that is absolute": f"{outside}/evil/layer.tar"}.items():
        spoiled = Image()
        spoiled.paths[1] = path
        yield Case(f"a layer's name {name}", spoiled.archive(), DAMAGED)
        yield Case(f"an unused member's name {name}", image.archive(extra=[member(path, b"evil")]), DAMAGED)
    for name, type_, link in (
            ("symlink out of the archive", tarfile.SYMTYPE, "../../../../../../../../etc/hostname"),
            ("absolute symlink", tarfile.SYMTYPE, "/etc/hostname"),
            ("symlink to itself", tarfile.SYMTYPE, "layer.tar"),
            ("symlink to nothing", tarfile.SYMTYPE, "../nothing/layer.tar"),
            ("hard link out of the archive", tarfile.LNKTYPE, "../../../etc/hostname"),
            ("folder", tarfile.DIRTYPE, ""), ("fifo", tarfile.FIFOTYPE, ""), ("device", tarfile.CHRTYPE, "")):
        first, _ = image.layer_members()
        yield Case(f"a layer that is a {name}", tar_of([
            first, member(image.paths[1], b"", type_, link), image.config_member(),
            member("manifest.json", json.dumps([image.entry()]).encode())]), DAMAGED)
    repeated = Image("repeated", [image.layers[0], image.layers[0]])
    link = member(repeated.paths[1], b"", tarfile.SYMTYPE, "../" + repeated.paths[0])
    yield Case("a symlink inside the archive is how Docker repeats a layer", tar_of([
        repeated.layer_members()[0], link, repeated.config_member(),
        member("manifest.json", json.dumps([repeated.entry()]).encode())]),
        DONE, images={repeated.id: repeated.diff_ids}, names={"repeated:crafted": repeated.id})


def sizes():
    image = Image()
    manifest = json.dumps([image.entry()]).encode()
    spoiled_fields = {"2^63": base256(HUGE), "2^63 - 1": base256(HUGE - 1), "2^64 and more": base256((1 << 64) + 512),
                      "negative": b"\xff" * 11 + b"\0", "no number": b"abcdefghijk\0", "8 GiB": b"77777777777\0"}
    for name, size_field in spoiled_fields.items():
        for what, members in {
            "a layer": [sized(image.paths[0], size_field, image.layers[0]), image.config_member()],
            "the manifest": [*image.layer_members(), image.config_member(), sized("manifest.json", size_field, manifest)],
            "an unused member": [*image.layer_members(), image.config_member(), sized("unused", size_field, b"")],
        }.items():
            yield Case(f"the size of {what} is {name}", tar_of([*members, member("manifest.json", manifest)]), DAMAGED)
    for name, value in {"2^63": HUGE, "2^64": 1 << 64, "negative": -1, "no number": "many"}.items():
        layer = pax({"size": value}, image.paths[0], image.layers[0])
        yield Case(f"a PAX size is {name}", tar_of([layer, member("manifest.json", manifest)]), DAMAGED)
    for type_, what in ((b"x", "a PAX header"), (b"L", "a GNU long name")):
        head = bytearray(sized("././@LongLink", base256(HUGE), b"")[:BLOCK_BYTES])
        head[156:157] = type_
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        yield Case(f"the size of {what} is 2^63", tar_of([bytes(head), *image.layer_members()]), DAMAGED)
    broken = bytearray(image.archive())
    broken[148:156] = b"000000\0 "
    yield Case("a header's checksum is wrong", bytes(broken), DAMAGED)


def bombs():
    image = Image()
    image.layers[1] = gzip.compress(bytes(256 << 20), 9)
    yield Case("a layer of 256 MiB zeros in 256 KiB, with another diffID", image.archive(), DAMAGED)
    many = Image("many").archive(extra=[member(f"{n:07}") for n in range(200_000)])
    intact = Image("many")
    yield Case("200,000 members", gzip.compress(many, 1), DAMAGED | DONE, images={intact.id: intact.diff_ids})
    plain = Image().archive()
    yield Case("xz that wants 3 GiB", xz_with_dictionary(plain, 39), NO_MEMORY)
    yield Case("zstd that wants 2 GiB", zstd_with_window(plain, 31), NO_MEMORY)


def xz_with_dictionary(data, dictionary_code):
    """An xz stream whose block header asks for another dictionary than was used (xz-file-format, 3.1, 5.3.1)."""
    stream = bytearray(lzma.compress(data, check=lzma.CHECK_CRC32))
    size = (stream[12] + 1) * 4
    at = stream.index(b"\x21\x01", 12)
    stream[at + 2] = dictionary_code
    stream[12 + size - 4:12 + size] = struct.pack("<I", zlib.crc32(stream[12:12 + size - 4]))
    return bytes(stream)


def zstd_with_window(data, window_log):
    """A zstd frame of raw blocks with any window (RFC 8878, 3.1.1)."""
    out = io.BytesIO()
    out.write(b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]))
    for at in range(0, len(data), 1 << 16):
        block = data[at:at + (1 << 16)]
        last = at + len(block) == len(data)
        out.write(struct.pack("<I", len(block) << 3 | last)[:3] + block)
    return out.getvalue()


def balena_deltas(pair, base_bytes):
    """Deltas in the `balena` format for `pair`, each wrong in one way. `base_bytes` are all base layers together."""
    target_config = json.dumps({"architecture": "amd64", "os": "linux",
                                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(base_bytes[:1000])]}})
    magic, end = bytes.fromhex("72730236"), b"\0"
    right = magic + b"\x4e" + struct.pack(">IH", 0, 1000) + end      # COPY: 4 bytes of offset, 2 of length
    labels = {"io.resin.delta.base": pair.old_id, "io.resin.delta.config": target_config}

    def delta(name, stream=right, codes=DAMAGED, layers=None, target=None, **changed_labels):
        changed = {**labels, **{f"io.resin.delta.{k}": v for k, v in changed_labels.items()}}
        image = Image("delta", layers or [tar_of([member("delta", stream)])])
        image.config = {"config": {"Labels": {k: v for k, v in changed.items() if v is not None}},
                        "rootfs": {"type": "layers", "diff_ids": image.diff_ids}}
        found = {} if target is None else {target: ["sha256:" + sha256(base_bytes[:1000])]}
        return Case(f"balena delta: {name}", image.archive(), codes, images=found,
                    names={"delta:crafted": target} if target else {})

    yield delta("a COPY of 1,000 bytes is right", codes=DONE, target="sha256:" + sha256(target_config.encode()))
    # librsync stops reading at END; the image is right either way.
    yield delta("bytes after END", right + b"more", DAMAGED | DONE, target="sha256:" + sha256(target_config.encode()))
    past = struct.pack(">QQ", len(base_bytes) - 10, 1000)
    for name, stream in {
        "empty": b"", "the magic alone": magic, "a signature's magic": bytes.fromhex("72730137") + right[4:],
        "no END": right[:-1], "an unknown command": magic + b"\xff" + end,
        "a LITERAL of 2^63 bytes": magic + b"\x44" + struct.pack(">Q", HUGE) + b"x" * 600 + end,
        "a LITERAL of 2^64 - 1 bytes": magic + b"\x44" + b"\xff" * 8 + b"x" * 600 + end,
        "a LITERAL of no bytes": magic + b"\x41\0" + end,
        "a COPY from 2^63": magic + b"\x54" + struct.pack(">QQ", HUGE, 1000) + end,
        "a COPY of 2^63 bytes": magic + b"\x54" + struct.pack(">QQ", 0, HUGE) + end,
        "a COPY whose end overflows": magic + b"\x54" + struct.pack(">QQ", (1 << 64) - 10, 1000) + end,
        "a COPY past the end of the base": magic + b"\x54" + past + end,
        "other bytes than the target's": magic + b"\x05hello" + end,
    }.items():
        yield delta(name, stream)
    yield delta("no member called delta", layers=[tar_of([member("other", right)])])
    yield delta("a member called ../delta", layers=[tar_of([member("../delta", right)])])
    yield delta("a layer that is no tar", layers=[b"noise" * 300])
    yield delta("more layers than the target has", layers=[tar_of([member("delta", right)]), bytes(1024)])
    yield delta("an empty layer where nothing is shared", layers=[bytes(1024)])
    yield delta("a target config that is not JSON", config="{")
    yield delta("a target config without layers", config="{}")
    yield delta("a base that is no digest", base="../../etc/passwd")
    yield delta("a base that is not here", base="sha256:" + "1" * 64, codes=frozenset({4}))
