#!/usr/bin/env python3
"""Makes safety_numbers.txt: the safety number of two identity keys, from its definition alone."""
import hashlib

LABEL = b"qpq safety number v1"


def safety_number(one: bytes, other: bytes) -> str:
    a, b = sorted((one, other))
    h = hashlib.sha512(LABEL + b"\0" + a + b).digest()
    for _ in range(5200):
        h = hashlib.sha512(h + a + b).digest()
    groups = (int.from_bytes(h[5 * i : 5 * i + 5], "big") % 100_000 for i in range(12))
    return "".join(f"{group:05}" for group in groups)


print("# two identity keys, and the safety number of their owners: safety_numbers.py")
for one, other in [
    (bytes([1] * 32), bytes([2] * 32)),
    (bytes([2] * 32), bytes([3] * 32)),
    (bytes(range(32)), bytes(range(31, -1, -1))),
    (bytes([255] * 32), bytes(31) + b"\1"),
]:
    print(one.hex(), other.hex(), safety_number(one, other))
