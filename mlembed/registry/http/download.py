"""One large file on its way: written and hashed as it comes, resumed where it broke off.

What is not exactly the announced bytes is refused: not one byte more is written, and the digest
is that of the file, in however many pieces it came.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from mlembed.errors import IntegrityError, NotFoundError, RegistryError
from mlembed.registry.http.answer import length_of, require_plain
from mlembed.registry.http.faults import TransientError, place

if TYPE_CHECKING:
    import httpx

_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")
_PARTIAL, _NOT_FOUND = 206, 404


class Download:
    """What has come of a file of *size* bytes with the digest *sha256*.

    Args:
        url: Where it is asked for, to name it in errors.
        size: Bytes it has.
        sha256: Digest it has, in hex.
        file: Where it goes, from the present position on; seekable.

    Attributes:
        done: Bytes that were written.
        furthest: The most that this ever was.
    """

    def __init__(self, url: httpx.URL, size: int, sha256: str, file: BinaryIO) -> None:
        self._where = place(url)
        self._host = url.host
        self._size = size
        self._sha256 = sha256
        self._file = file
        self._digest = hashlib.sha256()
        self.done = self.furthest = 0
        try:
            self._start = file.tell()
        except OSError as error:
            self._refuse_file(error)

    def range(self) -> dict[str, str]:
        """Return the header that asks for what is missing."""
        return {"Range": f"bytes={self.done}-"} if self.done else {}

    def take(self, answer: httpx.Response, _request: httpx.Request) -> None:
        """Write what *answer* holds.

        Raises:
            TransientError: If it ends early and more may come at the next try.
            IntegrityError: If it has not the announced size.
            RegistryError: If it is no answer to what was asked.
            NotFoundError: If there is no such file.
        """
        self._begin(answer)
        for part in answer.iter_raw():
            if self.done + len(part) > self._size:
                self._refuse_bytes(f"has more than its {self._size} bytes")
            self._write(part)
        if self.done < self._size:
            if "content-length" in answer.headers or "transfer-encoding" in answer.headers:
                self._refuse_bytes(f"has {self.done} bytes instead of {self._size}")
            raise TransientError(f"{self._where} broke off; check the network", "cut")

    def verify(self) -> None:
        """Compare what was written with the digest.

        Raises:
            IntegrityError: If it is another.
        """
        if self._digest.hexdigest() != self._sha256:
            self._refuse_bytes("has another digest")

    def _begin(self, answer: httpx.Response) -> None:
        if answer.status_code == _NOT_FOUND:
            raise NotFoundError(
                f"{self._where} does not exist; publish the bundle again, or check the registry's "
                "URL"
            )
        require_plain(answer, self._where)
        if answer.status_code == _PARTIAL:
            self._require_rest(answer.headers.get("content-range", ""))
        elif answer.status_code == 200:  # noqa: PLR2004  the whole file, whatever was asked
            self._begin_anew()
        else:
            raise RegistryError(
                f"{self._where} answers {answer.status_code} instead of the file; check the "
                "registry's URL"
            )
        length = length_of(answer)
        if length is not None and length != self._size - self.done:
            self._refuse_bytes(f"announces {self.done + length} bytes instead of {self._size}")

    def _require_rest(self, text: str) -> None:
        match = _RANGE.fullmatch(text)
        if match is None or int(match[1]) != self.done:
            raise RegistryError(
                f"{self._where} resumes at another byte than it was asked for; turn range "
                "requests off on the registry or the proxy before it"
            )
        if match[2] not in ("*", str(self._size)):
            self._refuse_bytes(f"announces {match[2]} bytes instead of {self._size}")

    def _begin_anew(self) -> None:
        if not self.done:
            return
        try:
            self._file.seek(self._start)
            self._file.truncate()
        except OSError as error:
            self._refuse_file(error)
        self._digest = hashlib.sha256()
        self.done = 0

    def _write(self, part: bytes) -> None:
        try:
            written = self._file.write(part)
        except OSError as error:
            self._refuse_file(error)
        if written != len(part):
            raise RegistryError(f"cannot write what {self._where} sends: give a buffered file")
        self._digest.update(part)
        self.done += len(part)
        self.furthest = max(self.furthest, self.done)

    def _refuse_file(self, error: OSError) -> NoReturn:
        raise RegistryError(
            f"cannot write what {self._where} sends: {error.strerror or type(error).__name__}"
        ) from error

    def _refuse_bytes(self, what: str) -> NoReturn:
        raise IntegrityError(
            f"sha256 {self._sha256[:12]}... from {self._host} {what}; it is refused. Publish the "
            "bundle again from the run that made it"
        )
