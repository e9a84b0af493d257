"""Small files that claim or become large ones. Each case is to end with an error in bounded time and memory."""
import gzip
import json
import struct

from archives import DockerArchive
from crafted import (DAMAGED, NO_MEMORY, Case, Image, base256, member, sha256, sized, tar_of,
                     xz_with_dictionary, zstd_with_window)
from xxh3 import xxh3_64

TERABYTE = 1 << 40
REFUSED = DAMAGED | NO_MEMORY
MILLION = 1_000_000
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def bombs(pair):
    yield from claims()
    yield from documents()
    yield from members()
    yield from nested()
    yield from native_claims(pair)
    yield from librsync_operations(pair)


def claims():
    """Headers that claim a terabyte, before a kilobyte."""
    image = Image("claims")
    manifest = member("manifest.json", json.dumps([image.entry()]).encode())
    first, _ = image.layer_members()
    for name, header in {"base-256": base256(TERABYTE), "octal, 8 GiB": b"77777777777\0"}.items():
        layer = sized(image.paths[1], header, b"x" * 100)
        yield Case(f"a tar member claims 1 TB ({name})", tar_of([first, image.config_member(), manifest, layer]), DAMAGED)
    plain = image.archive()
    for name, data in {
        "zstd claims 1 TB of content": zstd_that_claims(plain, TERABYTE, single_segment=False),
        "zstd claims 1 TB in one segment": zstd_that_claims(plain, TERABYTE, single_segment=True),
        "xz claims a dictionary of 4 GiB": xz_with_dictionary(plain, 40),
        "zstd claims a window of 2 GiB": zstd_with_window(plain, 31),
    }.items():
        yield Case(f"an archive: {name}", data, REFUSED)
        spoiled = Image("claims")
        spoiled.layers[1] = data
        yield Case(f"a layer: {name}", spoiled.archive(), REFUSED)


def zstd_that_claims(data, size, single_segment):
    """A frame of raw blocks whose header has a content size (RFC 8878, 3.1.1.1)."""
    data = data[:1 << 16]
    descriptor = 3 << 6 | single_segment << 5
    window = b"" if single_segment else bytes([10 << 3])
    block = struct.pack("<I", len(data) << 3 | 1)[:3] + data
    return ZSTD_MAGIC + bytes([descriptor]) + window + struct.pack("<Q", size) + block


def documents():
    """JSON that is deep, long, or a million images."""
    image = Image("documents")
    deep = b'{"a":' * 100_000
    lists = b"[" * 100_000
    entry = json.dumps(image.entry()).encode()
    small_entry = b'{"Config":"c.json","Layers":[]}'
    for name, manifest in {
        "a million images": b"[" + b",".join([small_entry] * MILLION) + b"]",
        "ten thousand images": b"[" + b",".join([entry] * 10_000) + b"]",
        "a million names": json.dumps([image.entry(RepoTags=["a:b"] * MILLION)]).encode(),
        "a million layers": json.dumps([image.entry(Layers=[image.paths[0]] * MILLION)]).encode(),
        "maps nested 100,000 deep": b"[" + deep,
        "lists nested 100,000 deep in an unknown field": b'[{"x":' + lists,
    }.items():
        yield Case(f"manifest: {name}", gzip.compress(image.archive(manifest), 1), DAMAGED)
    for name, config in {
        "maps nested 100,000 deep": deep, "lists nested 100,000 deep in an unknown field": b'{"x":' + lists,
        "a million diffIDs": json.dumps({"rootfs": {"diff_ids": image.diff_ids[:1] * (MILLION // 10)}}).encode(),
        "a million steps of history": b'{"rootfs":{},"history":[' + b"{}," * MILLION + b"{}]}",
        "a million labels": json.dumps({"rootfs": {}, "config": {"Labels": {str(n): "" for n in range(MILLION // 4)}}}).encode(),
    }.items():
        manifest = member("manifest.json", json.dumps([image.entry(Config="c.json")]).encode())
        files = [*image.layer_members(), member("c.json", config), manifest]
        yield Case(f"config: {name}", gzip.compress(tar_of(files), 1), DAMAGED)
    descriptor = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "1" * 64, "size": 9}
    for name, index in {
        "a million images": b'{"schemaVersion":2,"manifests":[' + b",".join([json.dumps(descriptor).encode()] * (MILLION // 4)) + b"]}",
        "maps nested 100,000 deep": deep,
    }.items():
        layout = tar_of([member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), member("index.json", index)])
        yield Case(f"index: {name}", gzip.compress(layout, 1), DAMAGED)


def members():
    """Ten million members: a gzip file may be many, one after the other, so one is enough to make."""
    for name, content in {"": b"", "of JSON": b"{}", "of a gzip header": b"\x1f\x8b\x08"}.items():
        part = gzip.compress(b"".join(member(f"{n:05}", content) for n in range(20_000)), 6)
        yield Case(f"ten million members {name}".strip(), part * 500, DAMAGED)
    long_name = b"".join(member("././@LongLink", b"n" * 4000 + b"\0", type_=b"L") for _ in range(1000))
    yield Case("a long name before a long name, without end", gzip.compress(long_name, 6) * 1000, DAMAGED)


def nested():
    """Compression in compression, and what becomes a million times as much."""
    image = Image("nested")
    plain = image.archive()
    nested_archive = plain
    for _ in range(10):
        nested_archive = gzip.compress(nested_archive, 1)
    yield Case("gzip in gzip, ten times", nested_archive, DAMAGED)
    zeros = gzip.compress(bytes(64 << 20), 9)
    yield Case("64 GiB of zeros after the end of an archive", gzip.compress(plain, 1) + zeros * 1024, DAMAGED)
    spoiled = Image("nested")
    spoiled.layers[1] = gzip.compress(gzip.compress(spoiled.layers[1]))
    yield Case("a layer is gzip in gzip", spoiled.archive(), DAMAGED)
    spoiled.layers[1] = gzip.compress(zeros * 64)
    yield Case("a layer is gzip in gzip of 4 GiB zeros", gzip.compress(spoiled.archive(), 1), DAMAGED)


def terabyte_of_zeros():
    """An archive of some kilobytes with a layer of 1 TB: zstd says 128 KiB of equal bytes in four, and gzip says all
    of those again in a thousandth."""
    block = struct.pack("<I", (1 << 17) << 3 | 1 << 1)[:3] + b"\0"
    frame = ZSTD_MAGIC + b"\x00" + bytes([10 << 3])
    image = Image("terabyte")
    image.layers[1] = frame + block * (TERABYTE >> 17)
    return gzip.compress(image.archive(), 6)


def native_claims(pair):
    """Native deltas whose header promises too much. What is behind the header hardly matters."""
    target = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "7" * 64]}})
    base_layer = sha256(layers_of(pair)[0])

    def delta(name, codes, **fields):
        stream = native_header(base_layer, **fields) + b"no frame" * 50
        image = Image("delta", [tar_of([member("delta.silt", stream)])])
        image.config = {"config": {"Labels": {"io.silt.delta.version": "1", "io.silt.delta.config": target}},
                        "rootfs": {"type": "layers", "diff_ids": image.diff_ids}}
        return Case(f"silt delta: {name}", image.archive(), codes)

    yield delta("an output of 1 TB", REFUSED, output_bytes=TERABYTE)
    yield delta("an output of 2^64 - 1 bytes", REFUSED, output_bytes=(1 << 64) - 1)
    yield delta("memory of 1 TB", NO_MEMORY, memory_bytes=TERABYTE)
    yield delta("frames of 4 GiB", NO_MEMORY, frame_bytes=(1 << 32) - 1)
    yield delta("windows of 1 GiB", NO_MEMORY, window_log=30)
    yield delta("origins of 1 TB", REFUSED, origin_bytes=TERABYTE)
    yield delta("2^63 origins", DAMAGED, origin_count=1 << 63)


def native_header(base_layer, output_bytes=1000, memory_bytes=4 << 20, frame_bytes=1 << 20, window_log=17,
                  origin_bytes=1000, origin_count=1):
    payload = varint(0) + bytes.fromhex("7" * 64) + varint(output_bytes) + varint(memory_bytes) + varint(0)
    payload += varint(frame_bytes) + varint(min(frame_bytes, 8 << 20)) + varint(origin_count)
    payload += b"\0" + bytes.fromhex(base_layer) + varint(origin_bytes)
    payload += varint(7) + b"".join(bytes([n, 1, window_log]) for n in range(7))
    # What follows the fields is passed over; xxh3.py knows one range of lengths.
    payload = payload.ljust(180, b"\0")
    header = b"\x89SILT\r\n\x1a" + struct.pack("<HI", 1, len(payload)) + payload
    return header + struct.pack("<Q", xxh3_64(header))


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def librsync_operations(pair):
    """Deltas whose commands make a terabyte, or are ten million."""
    target = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(b"never made")]}})
    magic, end = bytes.fromhex("72730236"), b"\0"

    def delta(name, stream, codes):
        image = Image("delta", [tar_of([member("delta", magic + stream + end)])])
        image.config = {"config": {"Labels": {"io.resin.delta.base": pair.old_id, "io.resin.delta.config": target}},
                        "rootfs": {"type": "layers", "diff_ids": image.diff_ids}}
        return Case(f"balena delta: {name}", gzip.compress(image.archive(), 6), codes)

    base_bytes = sum(map(len, layers_of(pair)))
    whole_base = b"\x54" + struct.pack(">QQ", 0, base_bytes)
    yield delta("a LITERAL of 1 TB", b"\x44" + struct.pack(">Q", TERABYTE) + b"x" * 600, DAMAGED)
    yield delta("a COPY of 1 TB", b"\x54" + struct.pack(">QQ", 0, TERABYTE), DAMAGED)
    yield delta("the whole base ten million times", whole_base * (10 * MILLION // 5), REFUSED)
    yield delta("ten million COPYs of one byte", b"\x45\x07\x01" * (10 * MILLION), DAMAGED)
    yield delta("ten million LITERALs of one byte", b"\x01x" * (10 * MILLION), DAMAGED)


def layers_of(pair):
    base = DockerArchive(pair.old)
    return [layer.read() for layer in base.layers(base.images[0])]
