"""Whom a host trusts, and what it refuses.

It fails closed: a key that was asked for and cannot be read stops the start, an empty directory of
keys too, and a signature that is there must be good even where none is required.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.dsse import Envelope
    from mlembed.bundle.keys import PublicKey

_SUFFIXES = {".pub", ".pem"}


@dataclasses.dataclass(frozen=True)
class Trust:
    """Whom a host trusts: nobody in particular by default, and then all is believed.

    Attributes:
        keys: Public keys, any of which may have signed.
        required: Whether what nobody signed is refused.
    """

    keys: tuple[PublicKey, ...] = ()
    required: bool = False

    def __post_init__(self) -> None:
        if self.required and not self.keys:
            raise SettingsError(
                "signatures are required and there is no key to check them with; set MLEMBED_KEYS "
                "to the publisher's public keys"
            )

    @classmethod
    def read(
        cls,
        paths: Sequence[str | Path],
        required: bool | None = None,  # noqa: FBT001  as the setting is handed on
    ) -> Trust:
        """Read the public keys in *paths*: PEM files, and directories of `*.pub` and `*.pem`.

        Args:
            paths: Where they are.
            required: Whether what nobody signed is refused; None for exactly where there are keys.

        Raises:
            SettingsError: If a path has no readable public key, or there is none for what is
                required.
            MissingExtraError: If cryptography is not installed.
        """
        from mlembed.bundle.keys import PublicKey  # hosts without keys start without

        files = [file for path in paths for file in _files(Path(path))]
        keys = tuple(dict.fromkeys(map(PublicKey.read, files)))
        return cls(keys, bool(keys) if required is None else required)

    def check_bundle(self, bundle: Bundle) -> str:
        """Return the id of the key that signed *bundle*; empty where that is not asked.

        Raises:
            SignatureError: If it is not signed and must be, or not by one of the keys as it is.
        """
        self._require(bool(bundle.signature), bundle.manifest.title)
        if not bundle.signature or not self.keys:
            return ""
        from mlembed.bundle.signature import verify  # idem

        return verify(bundle, self.keys)

    def check_envelope(self, envelope: Envelope, place: str) -> str:
        """Return the id of the key that signed *envelope*; empty where that is not asked.

        Raises:
            SignatureError: If it is not signed and must be, or by none of the keys; names *place*.
        """
        self._require(bool(envelope.signatures), place)
        if not envelope.signatures or not self.keys:
            return ""
        signers = envelope.signed_by(self.keys)
        for key in self.keys:
            if key.key_id in signers:
                return key.key_id
        raise SignatureError(
            f"{place} is signed by none of the trusted keys ({self._known}). Let its publisher "
            "sign it with one of them, or add the publisher's public key to MLEMBED_KEYS"
        )

    @property
    def _known(self) -> str:
        return ", ".join(key.key_id[:12] for key in self.keys)

    def _require(self, is_signed: bool, place: str) -> None:  # noqa: FBT001
        if self.required and not is_signed:
            raise SignatureError(
                f"{place} is not signed; expected a signature by one of the keys in MLEMBED_KEYS "
                f"({self._known}). Sign a bundle with `mlembed sign`, an alias by promoting it with "
                "MLEMBED_SIGNING_KEY set, and MLEMBED_KEYS unset while it has no signature yet"
            )


def _files(path: Path) -> list[Path]:
    """Return *path*, or the keys in the directory that it is.

    Raises:
        SettingsError: If it cannot be listed, or holds none, as one that was not mounted.
    """
    try:
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    except NotADirectoryError:
        return [path]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise SettingsError(
            f"cannot read the keys in {path}: {why}; set MLEMBED_KEYS to the publisher's public keys"
        ) from error
    if not files:
        raise SettingsError(f"{path} holds no key; expected files that end in .pub or .pem")
    return files
