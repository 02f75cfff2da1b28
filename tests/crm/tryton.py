"""A real Tryton on this machine: the ERP that actions are written to, and outcomes read from.

Tryton is GPL, so it lives in an environment and a process of its own. What takes a minute, the
environment and a database with the module `sale_opportunity`, is made once for the machine; a test
gets a copy of the database, and a server that cannot outlive the test run.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import http.client
import itertools
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import pip_install, unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES = "8.2"
DATABASE = "erp"
USER = "admin"
PASSWORD = "adminpw"  # noqa: S105  of a server that lives as long as a test
START_DATE = {"__class__": "date", "year": 2026, "month": 11, "day": 23}

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlembed-tests"
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_REVISION = 3  # what is kept changed, so that what was kept before is not used
_SET_UP_SECONDS = 600.0
_START_SECONDS = 60.0
# The server ends when its standard input does: with its parent, however that ends.
_SERVE = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class RpcError(Exception):
    """The server answered with an error; its arguments are what it said."""


@dataclasses.dataclass
class Server:
    """A running Tryton, with one company in it.

    Attributes:
        url: Scheme, host and port.
        database: Name of the database.
        user: Login of its administrator.
        password: Of that login.
        company: Id of the company.
        currency: Id of its currency.
        party: Id of a customer, with an address.
        employee: Id of one of the company's employees.
        file: The database, for SQLite.
    """

    url: str
    file: Path
    database: str = DATABASE
    user: str = USER
    password: str = PASSWORD
    company: int = 0
    currency: int = 0
    party: int = 0
    employee: int = 0
    _session: str = ""
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def login(self) -> str:
        """Log in; return the value of the header Authorization."""
        parameters = [self.user, {"password": self.password}, "en"]
        user_id, token, _ = self._post("common.db.login", parameters, {})
        text = f"{self.user}:{user_id}:{token}"
        self._session = f"Session {base64.b64encode(text.encode()).decode()}"
        return self._session

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Call *method* in the context of the company; return its result.

        Raises:
            RpcError: If the server answers with an error.
        """
        header = {"Authorization": self._session or self.login()}
        context = {"company": self.company} if self.company else {}
        return self._post(method, [*parameters, context], header)

    def opportunity(self, reference: str | None = None, **values: Any) -> int:
        """Make an opportunity; return its id."""
        (made,) = self.opportunities([reference], **values)
        return made

    def opportunities(self, references: list[str | None], **values: Any) -> list[int]:
        """Make an opportunity for each of *references*, at once; return their ids."""
        rows = [
            {
                "party": self.party,
                "company": self.company,
                "currency": self.currency,
                "employee": self.employee,
                "start_date": START_DATE,
                "reference": reference,
                **values,
            }
            for reference in references
        ]
        made: list[int] = self.rpc("model.sale.opportunity.create", rows)
        return made

    def win(self, opportunity: int) -> None:
        """Do what sales people do: convert *opportunity*, and confirm the sale it became."""
        self.rpc("model.sale.opportunity.opportunity", [opportunity])
        self.rpc("model.sale.opportunity.convert", [opportunity])
        origin = f"sale.opportunity,{opportunity}"
        sales = self.rpc("model.sale.sale.search", [["origin", "=", origin]], 0, None, None)
        line = {"type": "comment", "description": "As agreed"}  # a quotation needs one
        self.rpc("model.sale.sale.write", sales, {"lines": [["create", [line]]]})
        self.rpc("model.sale.sale.quote", sales)
        self.rpc("model.sale.sale.confirm", sales)

    def read(self, opportunity: int, *fields: str) -> dict[str, Any]:
        """Return *fields* of an opportunity."""
        (row,) = self.rpc("model.sale.opportunity.read", [opportunity], list(fields))
        return {name: row[name] for name in fields}

    def key(self) -> str:
        """Make a key of an application that may use REST; return it."""
        values = {"user": _user_id(self), "application": "rest"}
        made = self.rpc("model.res.user.application.create", [values])
        (row,) = self.rpc("model.res.user.application.read", made, ["key"])
        return str(row["key"])

    def _post(self, method: str, parameters: list[Any], headers: dict[str, str]) -> Any:
        body = json.dumps({"id": next(self._numbers), "method": method, "params": parameters})
        every = {"Content-Type": "application/json", **headers}
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", f"/{self.database}/rpc/", body, every)
            response = connection.getresponse()
            text = response.read()
        if response.status != http.client.OK:
            raise RpcError(response.status, text.decode())
        answer = json.loads(text)
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]


@contextlib.contextmanager
def tryton() -> Iterator[Server]:
    """Run a Tryton of its own for the length of the block."""
    home = _prepared()
    with tempfile.TemporaryDirectory(prefix="mlembed-tryton-") as name:
        directory = Path(name)
        shutil.copyfile(home / "template.sqlite", directory / f"{DATABASE}.sqlite")
        with _serving(home, directory) as server:
            yield dataclasses.replace(server, **json.loads((home / "world.json").read_text()))


def _prepared() -> Path:
    """Return the folder with the environment and the database, made where there is none.

    It is made aside and renamed, so what is there is whole; and by one process at a time.
    """
    home = _CACHE / f"tryton-{SERIES}-python-{_VERSION}-{_REVISION}"
    if home.exists():
        return home
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            aside = home.with_name(f"{home.name}.new")
            shutil.rmtree(aside, ignore_errors=True)
            _set_up(aside)
            aside.rename(home)
    return home


def _set_up(home: Path) -> None:
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True, env=unmeasured())
    modules = [f"{name}=={SERIES}.*" for name in ("trytond", "trytond_sale_opportunity")]
    pip_install(home / "venv" / "bin" / "python", *modules)
    with tempfile.TemporaryDirectory(prefix="mlembed-tryton-") as name:
        directory = Path(name)
        file = directory / f"{DATABASE}.sqlite"
        file.touch()
        _initialise(home, directory)
        with _serving(home, directory) as server:
            (home / "world.json").write_text(json.dumps(_world(server)))
        _copy(file, home / "template.sqlite")


def _user_id(server: Server) -> int:
    (found,) = server.rpc("model.res.user.search", [["login", "=", USER]], 0, None, None)
    return int(found)


def _copy(source: Path, target: Path) -> None:
    """Copy a database whole: the last of its changes may be in a file beside it."""
    with contextlib.closing(sqlite3.connect(source)) as read:
        read.execute("VACUUM INTO ?", (str(target),))


def _initialise(home: Path, directory: Path) -> None:
    (directory / "password").write_text(PASSWORD)
    _configure(directory, port=0)
    subprocess.run(
        [
            *(home / "venv" / "bin" / "python", home / "venv" / "bin" / "trytond-admin"),
            *("-c", directory / "trytond.conf", "-d", DATABASE, "-u", "sale_opportunity"),
            *("--activate-dependencies", "--email", "admin@example.com"),
        ],
        check=True,
        capture_output=True,
        timeout=_SET_UP_SECONDS,
        env={**unmeasured(), "TRYTONPASSFILE": str(directory / "password")},
    )


def _world(server: Server) -> dict[str, int]:
    """Make the few records that an opportunity needs; return their ids."""
    (currency,) = server.rpc(
        "model.currency.currency.create", [{"name": "Euro", "code": "EUR", "symbol": "€"}]
    )
    named: list[dict[str, Any]] = [
        {"name": "Seller"},
        {"name": "Customer", "addresses": [["create", [{"city": "Town"}]]]},
        {"name": "Employee"},
    ]
    seller, party, person = server.rpc("model.party.party.create", named)
    (company,) = server.rpc(
        "model.company.company.create", [{"party": seller, "currency": currency}]
    )
    (employee,) = server.rpc(
        "model.company.employee.create", [{"party": person, "company": company}]
    )
    companies = {"companies": [["add", [company]]], "company": company}
    server.rpc("model.res.user.write", [_user_id(server)], companies)
    return {"company": company, "currency": currency, "party": party, "employee": employee}


def _configure(directory: Path, port: int) -> None:
    (directory / "trytond.conf").write_text(
        f"[database]\nuri = sqlite://\npath = {directory}\n[web]\nlisten = 127.0.0.1:{port}\n"
    )


@contextlib.contextmanager
def _serving(home: Path, directory: Path) -> Iterator[Server]:
    port = _free_port()
    _configure(directory, port)
    log = (directory / "trytond.log").open("wb")
    process = subprocess.Popen(
        [
            *(home / "venv" / "bin" / "python", "-c", _SERVE, home / "venv" / "bin" / "trytond"),
            *("-c", directory / "trytond.conf", "-d", DATABASE),
        ],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=unmeasured(),
    )
    try:
        _await(process, port, directory / "trytond.log")
        yield Server(f"http://127.0.0.1:{port}", directory / f"{DATABASE}.sqlite")
    finally:
        process.kill()
        process.communicate()
        log.close()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise RuntimeError(f"trytond does not listen: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
