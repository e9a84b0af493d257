"""librsync's delta format, as far as counting its commands needs."""

DELTA_MAGIC = b"rs\x026"
END, LITERAL_N1, COPY_N1_N1 = 0x00, 0x41, 0x45


def count_copies(delta):
    """How many COPY commands a delta has. balenaEngine opens a file for each."""
    if delta[:4] != DELTA_MAGIC:
        raise ValueError("not a librsync delta")
    at, copies = 4, 0
    while delta[at] != END:
        command = delta[at]
        at += 1
        if command < LITERAL_N1:
            at += command
        elif command < COPY_N1_N1:
            width = 1 << (command - LITERAL_N1)
            at += width + int.from_bytes(delta[at:at + width], "big")
        else:
            position_width, length_width = divmod(command - COPY_N1_N1, 4)
            at += (1 << position_width) + (1 << length_width)
            copies += 1
    return copies
