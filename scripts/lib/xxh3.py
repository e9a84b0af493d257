"""XXH3-64 with seed 0 of 129 to 240 bytes: enough for the header of a native delta.

From the specification, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""
MASK = (1 << 64) - 1
PRIME64_1, PRIME_MX1 = 0x9E3779B185EBCA87, 0x165667919E3779F9
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def xxh3_64(data):
    assert 129 <= len(data) <= 240
    accumulator = len(data) * PRIME64_1 & MASK
    for i in range(8):
        accumulator = (accumulator + mix(data, 16 * i, 16 * i)) & MASK
    accumulator = avalanche(accumulator)
    for i in range(8, len(data) // 16):
        accumulator = (accumulator + mix(data, 16 * i, 16 * (i - 8) + 3)) & MASK
    return avalanche((accumulator + mix(data, len(data) - 16, 136 - 17)) & MASK)


def mix(data, at, secret_at):
    low = word(data, at) ^ word(SECRET, secret_at)
    high = word(data, at + 8) ^ word(SECRET, secret_at + 8)
    product = low * high
    return product & MASK ^ product >> 64


def word(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def avalanche(value):
    value ^= value >> 37
    value = value * PRIME_MX1 & MASK
    return value ^ value >> 32
