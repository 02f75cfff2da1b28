"""`mlembed sign` and `mlembed verify`: vouch for a bundle, and see who did."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlembed.bundle.keys import Signer
from mlembed.bundle.manifest import SIGNATURE
from mlembed.bundle.signature import signed
from mlembed.bundle.single import SUFFIX, write_single
from mlembed.bundle.trust import Trust
from mlembed.cli.inspect import find_bundle, is_path
from mlembed.cli.keys import PasswordOption, password_of
from mlembed.cli.options import JsonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json
from mlembed.errors import BundleError, ExpiredError, IntegrityError, SettingsError
from mlembed.registry.files import replace
from mlembed.registry.pointer import parse_ref
from mlembed.settings import default_settings

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle


def sign(
    bundle: Annotated[
        str, typer.Argument(help="name@alias, name@version, bundle directory or .mlb file.")
    ],
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="FILE",
            help="Private key, as `mlembed keys new` makes; MLEMBED_SIGNING_KEY by default.",
            show_default=False,
        ),
    ] = "",
    password_env: PasswordOption = "",
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Sign a bundle, after its bytes are verified; the signature there is replaced."""
    settings = default_settings()
    if not (key or settings.signing_key):
        raise SettingsError("no key to sign with: give --key or MLEMBED_SIGNING_KEY")
    password = password_of(password_env) or settings.signing_password
    signer = Signer.read(key or settings.signing_key, password)
    found = signed(find_bundle(bundle, registry), signer)
    if is_path(bundle):
        _write(found, Path(bundle))
    else:
        store = registry_of(registry)
        store.sign(store.resolve(parse_ref(bundle)), found.signature)
    if as_json:
        title = found.manifest.title
        show_json({"bundle": title, "bundle_id": found.id, "key_id": signer.key_id})
    else:
        say(f"{found.manifest.title} is signed by the key {signer.key_id}")


def _found(text: str, registry: str, trust: Trust) -> Bundle:
    """Return the bundle that *text* names; an alias's pointer is judged as a host would.

    Raises:
        SignatureError: If nobody trusted signed the pointer.
        ExpiredError: If it has expired.
    """
    if is_path(text):
        return find_bundle(text, registry)
    ref, store = parse_ref(text), registry_of(registry)
    store.trust = trust
    if ref.is_alias:
        pointer = store.entry(ref.name, ref.selector).pointer
        if pointer.expired(dt.datetime.now(dt.UTC)):
            raise ExpiredError(f"the pointer of {ref} expired {pointer.expires}")
    return store.fetch(store.resolve(ref))


def _write(bundle: Bundle, path: Path) -> None:
    """Put the signature of *bundle* into its directory or its single file."""
    try:
        if path.is_dir():
            replace(path / SIGNATURE, bundle.signature)
            return
        fresh = path.with_name(f".{uuid.uuid4().hex}{SUFFIX}")
        write_single(bundle, fresh)
        fresh.replace(path)
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}; sign a copy that is writable"
        ) from error


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
        found = _found(bundle, registry, trust)
        title, bundle_id = found.manifest.title, found.id
        key_id = trust.check_bundle(found)
    except (IntegrityError, ExpiredError) as error:
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
