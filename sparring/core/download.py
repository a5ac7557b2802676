"""Downloads of a known address, size and SHA-256: by https to the end where it begins so, and whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SECONDS = 30.0  # without a byte
_PIECE = 2**20


def fetch(url: str, sha256: str, most: int, path: Path) -> None:
    """Brings a file of at most `most` bytes to `path`, once its hash fits; nothing is left there otherwise.

    Raises `OSError` where the network fails, and `ValueError` for more bytes, bytes of another hash, and a way there
    that leaves https.
    """
    import pooch  # only here: what is there already needs no network

    pooch.get_logger().setLevel("WARNING")  # what fails is said once, by whoever asked
    bounded = _Bounded(most)
    pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=bounded)


class _Bounded:
    """What pooch calls to fill a temporary file."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, url: str, output_file: Any, _: object, check_only: bool = False) -> None:
        import requests

        with requests.get(url, stream=True, timeout=_SECONDS) as response:
            response.raise_for_status()
            way = [each.url for each in (*response.history, response)]
            if url.startswith("https://") and not all(step.startswith("https://") for step in way):
                raise ValueError(f"{url} leads away from https")
            found = 0
            with Path(output_file).open("wb") as file:
                for piece in response.iter_content(_PIECE):
                    found += len(piece)
                    if found > self.most:
                        raise ValueError(f"{url} gives more than {self.most:,} bytes")
                    file.write(piece)
