"""What a file may claim before it is believed: bounds that keep hostile or broken files from filling the memory.

Headers and archive directories are only claims. Each reader holds them against the bytes that are really there and
against these bounds before it allocates anything.
"""

from __future__ import annotations

from sparring.core.free import all_bytes

MAX_PIXELS = 2**26
"""Pixels of one image (8192×8192): a larger one is refused before it is decoded."""
MAX_FILE_BYTES = 2**29
"""Bytes of one image file: `MAX_PIXELS` RGBA pixels of 16 bits, uncompressed."""
MAX_HEADER_BYTES = 2**13
"""Bytes of one extended header of a tar archive, which holds little more than a name."""
MAX_SCANS = 100
"""Scans of one JPEG file, each of which is a pass over all pixels: files that honest encoders write have about ten."""
MAX_RATIO = 200
"""Unpacked bytes per packed byte of an archive, once it unpacks to more than `FREE_BYTES`."""
FREE_BYTES = 2**28
"""What any archive may unpack to, however small it is: flat test pictures do compress a thousandfold."""
DEFLATE_RATIO = 1032
"""Deflate cannot pack better than this, so a gzip file cannot hold more than this many times its size."""


def max_bytes() -> int:
    """Bytes that the samples of one source may take: half of the machine's memory (8 GiB where that is unknown)."""
    return all_bytes() // 2


def max_unpacked(packed: int) -> int:
    """Bytes that an archive of `packed` bytes may unpack to."""
    return max(FREE_BYTES, MAX_RATIO * packed)


def printable(name: str) -> str:
    r"""A file's name as one line of text: line ends, terminal codes and undecodable bytes are escaped.

    >>> printable("two\nlines.png")
    'two\\nlines.png'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
