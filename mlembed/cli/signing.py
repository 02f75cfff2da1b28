"""`mlembed sign` and `mlembed verify`: vouch for a bundle, and see who did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlembed.bundle.bundle import read_directory
from mlembed.bundle.keys import Signer
from mlembed.bundle.manifest import SIGNATURE
from mlembed.bundle.signature import signed
from mlembed.bundle.trust import Trust
from mlembed.cli.inspect import find_bundle
from mlembed.cli.keys import PasswordOption, password_of
from mlembed.cli.options import JsonOption, RegistryOption
from mlembed.cli.output import say, show_json
from mlembed.errors import BundleError, IntegrityError
from mlembed.registry.files import replace
from mlembed.settings import default_settings


def sign(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory.")],
    key: Annotated[Path, typer.Option("--key", help="Private key, as `mlembed keys new` makes.")],
    password_env: PasswordOption = "",
    as_json: JsonOption = False,
) -> None:
    """Sign a bundle, after its bytes are verified; the signature there is replaced."""
    signer = Signer.read(key, password_of(password_env))
    found = signed(read_directory(bundle), signer)
    try:
        replace(bundle / SIGNATURE, found.signature)
    except OSError as error:
        raise BundleError(
            f"cannot write {bundle / SIGNATURE}: {error.strerror}; sign a copy that is writable"
        ) from error
    if as_json:
        title = found.manifest.title
        show_json({"bundle": title, "bundle_id": found.id, "key_id": signer.key_id})
    else:
        say(f"{found.manifest.title} is signed by the key {signer.key_id}")


def verify(
    bundle: Annotated[
        str, typer.Argument(help="name@alias, name@version, a bundle directory or .mlb file.")
    ],
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--keys",
            metavar="FILE",
            help="Public key or directory of them, may be repeated; MLEMBED_KEYS by default.",
            show_default=False,
        ),
    ] = None,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Verify that one of the keys signed a bundle exactly as it is.

    Exits 0 (verified), 1 (not trusted, and why) or 2 (could not run).
    """
    trust = Trust.read(keys or default_settings().keys, required=True)
    title = bundle_id = key_id = reason = ""
    try:
        found = find_bundle(bundle, registry)
        title, bundle_id = found.manifest.title, found.id
        key_id = trust.check_bundle(found)
    except IntegrityError as error:
        reason = str(error)
    if as_json:
        show_json(
            {
                "verified": not reason,
                "bundle": title or bundle,
                "bundle_id": bundle_id,
                "key_id": key_id,
                "reason": reason,
            }
        )
    else:
        say(f"not trusted: {reason}" if reason else f"{title} is signed by the key {key_id}")
    raise typer.Exit(1 if reason else 0)
