"""`mlembed keys`: make and look at the keys that sign models and promotions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mlembed.bundle.keys import PublicKey, Signer, is_private, new_key, read_pem, write
from mlembed.cli.options import JsonOption
from mlembed.cli.output import say, show_json
from mlembed.errors import SettingsError

app = typer.Typer(no_args_is_help=True, help="Make and look at the keys that sign models.")

PasswordOption = Annotated[
    str,
    typer.Option(
        "--password-env",
        metavar="VAR",
        help="Environment variable with the password of the private key.",
        show_default=False,
    ),
]


@app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="Where: PATH.key and PATH.pub are made.")] = Path(
        "mlembed"
    ),
    password_env: PasswordOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a pair: the private key signs and stays secret, the public one goes to every host."""
    private, public = new_key(password_of(password_env))
    private_path, public_path = write(path, private, public)
    key_id = PublicKey.from_pem(public).key_id
    if as_json:
        show_json({"key_id": key_id, "private": str(private_path), "public": str(public_path)})
        return
    say(f"key {key_id}")
    say(f"{private_path} signs: keep it secret, and give it to publishers as MLEMBED_SIGNING_KEY")
    say(f"{public_path} verifies: give it to every host as MLEMBED_KEYS")


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A private or public key.")],
    password_env: PasswordOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the id of a key and which of the two it is; the id is the same for both."""
    data = read_pem(file)
    kind, key_id = "public", ""
    if is_private(data):
        kind = "private"
        key_id = Signer.from_pem(data, str(file), password_of(password_env)).key_id
    else:
        key_id = PublicKey.from_pem(data, str(file)).key_id
    if as_json:
        show_json({"key_id": key_id, "kind": kind})
    else:
        say(f"{kind} key {key_id}")


def password_of(variable: str) -> str:
    """Return the password in the environment variable that an option names; empty for none.

    Raises:
        SettingsError: If it is not set.
    """
    if variable and not os.environ.get(variable):
        raise SettingsError(f"--password-env: {variable} is not set; expected the key's password")
    return os.environ[variable] if variable else ""
