"""A wheel of about 3 GB whose few members are huge and deflated, and a lock that names it by its path.

For measuring memory; it installs and does nothing of use. Made once into a folder, the same at each run:

    python3 benches/huge_wheel.py FOLDER
"""

import base64
import hashlib
import random
import struct
import sys
import zlib
from pathlib import Path

MIB = 1 << 20
PIECE = 64 * MIB
# Unpacked MiB of each member; the pieces pack to about three quarters.
MEMBERS = [256, 512, 1408, 1920]
NAME, VERSION = "huge", "1.0"
FILE = f"{NAME}-{VERSION}-py3-none-any.whl"


def piece():
    """Unpacked bytes with the entropy of base64, and their deflate stream without its last block."""
    noise = random.Random(1).randbytes(PIECE // 4 * 3)
    plain = base64.b64encode(noise)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    # A full flush ends at a byte and forgets the window, so that such streams may follow each other.
    return plain, packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)


def deflate(plain):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(plain) + packer.flush()


class Wheel:
    """A zip archive being written, member by member."""

    def __init__(self, out):
        self.out, self.directory, self.record = out, [], []

    def member(self, name, unpacked, crc, digest, parts):
        encoded, at = name.encode(), self.out.tell()
        packed = sum(map(len, parts))
        fixed = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, crc, packed, unpacked, len(encoded), 0)
        self.out.write(b"PK\x03\x04" + fixed + encoded)
        for part in parts:
            self.out.write(part)
        entry = b"PK\x01\x02" + struct.pack("<H", 20 | 3 << 8) + fixed
        self.directory.append(entry + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, at) + encoded)
        if digest:
            hashed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            self.record.append(f"{name},sha256={hashed},{unpacked}\n")

    def small(self, name, text, listed=True):
        plain = text.encode()
        digest = hashlib.sha256(plain).digest() if listed else None
        self.member(name, len(plain), zlib.crc32(plain), digest, [deflate(plain)])

    def finish(self):
        at = self.out.tell()
        size = self.out.write(b"".join(self.directory))
        count = len(self.directory)
        self.out.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, size, at, 0))


def write_wheel(path):
    plain, packed = piece()
    end = deflate(b"")
    with path.open("wb") as out:
        wheel = Wheel(out)
        for number, size in enumerate(MEMBERS):
            count = size * MIB // PIECE
            crc, digester = 0, hashlib.sha256()
            for _ in range(count):
                crc = zlib.crc32(plain, crc)
                digester.update(plain)
            name = f"{NAME}/data_{number}.bin"
            wheel.member(name, count * PIECE, crc, digester.digest(), [packed] * count + [end])
        wheel.small(f"{NAME}/__init__.py", "")
        info = f"{NAME}-{VERSION}.dist-info"
        wheel.small(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        wheel.small(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        record = f"{info}/RECORD"
        wheel.small(record, "".join(wheel.record) + f"{record},,\n", listed=False)
        wheel.finish()


def make(folder):
    """Makes wheel and lock unless they are there; gives the lock's path and the wheel's bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel, lock = folder / FILE, folder / "pylock.toml"
    if not lock.is_file():
        unfinished = folder / "unfinished"
        write_wheel(unfinished)
        unfinished.rename(wheel)
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = wheel.stat().st_size
        lock.write_text(
            'lock-version = "1.0"\ncreated-by = "bench"\n\n'
            f'[[packages]]\nname = "{NAME}"\nversion = "{VERSION}"\n'
            f'wheels = [{{ path = "{FILE}", size = {size}, hashes = {{ sha256 = "{digest}" }} }}]\n'
        )
    return lock, wheel.stat().st_size


if __name__ == "__main__":
    print(*make(Path(sys.argv[1])))
