"""`mlembed inspect` tells people all there is to know of a bundle, and programs the same as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundles import COLUMNS, RECORD, toy_bundle
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import pack
from mlembed.bundle.single import write_bundle
from mlembed.cli.app import run
from mlembed.cli.inspect import is_path
from mlembed.features import cyclic, hour_of_day, ratio
from tensorgraphs import mixed_bundle, pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle

    Shown = Callable[..., str]

TOY = toy_bundle(abstain=(0.4, 0.6))
TRAINING = {
    "estimator": "LogisticRegression",
    "parameters": {"C": 1.0},
    "seed": 7,
    "data_digest": "5bb8" * 16,
    "code": "git c7481ba4c4d28d543dcd7acc40fb228813989b66",
    "libraries": {"numpy": "2.3.1", "scikit-learn": "1.7.0"},
    "note": "",
    "weather": ["rain", 3, None],
}


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Return a function that writes a bundle into a file and returns what inspect says of it."""

    def call(bundle: Bundle, *options: str) -> str:
        path = tmp_path / "bundle.mlb"
        path.unlink(missing_ok=True)
        write_bundle(bundle, path)
        capsys.readouterr()
        code = run(["inspect", str(path), *options])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return call


def changed(**values: Any) -> Bundle:
    """Return the toy bundle with parts of its manifest replaced."""
    return pack(dataclasses.replace(TOY.manifest, **values), TOY.files)


def lines_of(text: str) -> list[str]:
    """Return the lines of *text*, runs of spaces as one."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_inspect_tells_what_it_is(shown: Shown) -> None:
    """Name, id, meaning, requirements, size and signature come first."""
    lines = lines_of(shown(TOY))

    band = "positive from 0.5, no label in [0.4, 0.6]"
    size = sum(map(len, [*TOY.files.values(), TOY.manifest_bytes])) / 1000
    assert lines[:9] == [
        "toy@1.0.0",
        "",
        f"id {TOY.id}",
        "created 2026-01-01T00:00:00+00:00",
        f"meaning the score is the probability that bought is yes; {band}",
        "needs onnxruntime >=1.24",
        "graph ir version 10",
        f"size {size:.1f} kB in 4 files",
        "signature not signed",
    ]


def test_inspect_claims_no_more_than_it_knows(shown: Shown, tmp_path: Path) -> None:
    """A signature is there, and who looks into it is named."""
    text = shown(dataclasses.replace(TOY, signature=b"{}"))

    assert "signed, not verified here: mlembed verify" in text
    assert str(tmp_path / "bundle.mlb") in text.replace("\n", "")
    assert "5 files" in text


def test_inspect_tells_megabytes(shown: Shown) -> None:
    """Large bundles are told in megabytes."""
    assert "3.0 MB in 5 files" in shown(
        pack(TOY.manifest, {**TOY.files, "card.md": b"x" * 3_000_000})
    )


def test_inspect_tells_what_a_record_holds(shown: Shown) -> None:
    """Every column has its kind, range or vocabulary, unit and what becomes of other values."""
    towns = tuple(f"town{number}" for number in range(40))
    columns = tuple(
        dataclasses.replace(column, vocabulary=towns, log="hash")
        if column.name == "town"
        else column
        for column in COLUMNS
    )
    strict = dataclasses.replace(
        COLUMNS[5], rule=dataclasses.replace(COLUMNS[5].rule, unknown="error")
    )
    lines = lines_of(shown(changed(columns=(*columns[:5], strict, columns[6]))))

    assert "age number [0, 120] years" in lines
    assert "income number may be missing [0, inf) EUR per year" in lines
    assert "plan category may be missing basic, plus; others are refused" in lines
    town = " ".join(lines[lines.index("member boolean") + 1 :][:2])
    assert "town category logged as hash town0, town1, town2" in town
    assert "34 more; others are rare" in town
    assert "plan category may be missing basic, plus; others are missing" in lines_of(shown(TOY))


def test_inspect_tells_how_features_are_made(shown: Shown) -> None:
    """Declared transforms are written as calls, however deep."""
    declared = {
        "share": ratio("income", "visits").to_json(),
        "hour": cyclic(hour_of_day("seen", 1), 24).to_json(),
        "odd": {"op": "odd"},
    }
    lines = lines_of(shown(changed(transforms=declared, features=("age", "share"))))

    assert "features age, share" in lines
    assert "share ratio(income, visits)" in lines
    assert "hour cyclic(hour_of_day(seen, utc offset hours 1.0), period 24.0)" in lines
    assert "odd op odd" in lines


def test_inspect_shows_golden_rows(shown: Shown) -> None:
    """The first five rows stand beside each other, each with the score it must give."""
    text = shown(TOY)
    golden = json.loads(TOY.files["golden.json"])

    start = text.index("golden row of 6")
    lines = lines_of(text[start:])
    assert lines[0] == "golden row of 6 1 2 3 4 5"
    assert [line.split()[0] for line in lines[1:9]] == [*RECORD, "score"]
    assert lines[2].startswith("income missing missing ")
    assert lines[8] == " ".join(["score", *(f"{score:.6g}" for score in golden["scores"][:5])])
    assert golden["records"][0]["seen"][:19].replace("T", " ") in lines[7]


def test_inspect_shortens_long_texts_in_golden_rows(shown: Shown) -> None:
    """A word of a hundred letters does not push the others off the page."""
    golden = json.loads(TOY.files["golden.json"])
    golden["records"][0]["town"] = "q" * 100
    files = {**TOY.files, "golden.json": strictjson.dumps(golden)}

    text = shown(pack(TOY.manifest, files))

    assert "q..." in text
    assert text.count("q") == 24


def test_inspect_shows_the_calls_of_tensors(shown: Shown) -> None:
    """Arrays are shown by name, dtype and shape."""
    text = shown(mixed_bundle())
    lines = lines_of(shown(pixels_bundle()))

    assert "golden call of 2 takes gives" in lines
    assert "2 pixels float32[2, 2, 2] odds float32[2, 3], class int64[2]" in lines
    assert "pixels float32[N, 2, 2]" in lines
    assert "meaning the score is odds:2" in lines
    assert "it has no score" in text
    assert "text string[2]" in text


def test_inspect_tells_the_unit_of_a_regression(shown: Shown) -> None:
    """The score of a regression is a quantity, in a unit where one is known."""
    bundle = toy_bundle(kind="regression")
    task = dataclasses.replace(bundle.manifest.task, unit="EUR")

    assert "the score is bought\n" in "\n".join(lines_of(shown(bundle))) + "\n"
    assert "the score is bought in EUR" in shown(
        pack(dataclasses.replace(bundle.manifest, task=task), bundle.files)
    )


def test_inspect_tells_what_it_was_made_from(shown: Shown) -> None:
    """The estimator comes first, the libraries near the end; what is empty is left out."""
    lines = lines_of(shown(changed(training=TRAINING)))

    start = lines.index("made from")
    assert lines[start + 1 : start + 8] == [
        "estimator LogisticRegression",
        "parameters C 1.0",
        "seed 7",
        f"data digest {TRAINING['data_digest']}",
        f"code {TRAINING['code']}",
        "libraries numpy 2.3.1, scikit-learn 1.7.0",
        "weather [rain, 3, null]",
    ]


def test_inspect_lists_the_files(shown: Shown) -> None:
    """Each has its role, length and the beginning of its digest."""
    lines = lines_of(shown(TOY))

    for file in TOY.manifest.files:
        assert f"{file.path} {file.role} {file.size:,} {file.sha256[:16]}" in lines


def test_inspect_gives_programs_all_of_it(shown: Shown) -> None:
    """The manifest, with the id, whether it is signed, and the golden rows."""
    told = json.loads(shown(dataclasses.replace(TOY, signature=b"{}"), "--json"))

    assert (told.pop("bundle_id"), told.pop("signed")) == (TOY.id, True)
    assert told.pop("golden") == json.loads(TOY.files["golden.json"])
    assert told == json.loads(TOY.manifest_bytes)
    assert json.loads(shown(TOY, "--json"))["signed"] is False


def test_inspect_refuses_broken_golden_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are named in one line, for people and programs."""
    write_bundle(pack(TOY.manifest, {**TOY.files, "golden.json": b"{"}), tmp_path / "a.mlb")

    for options in ([], ["--json"]):
        assert run(["inspect", str(tmp_path / "a.mlb"), *options]) == 2
        assert "golden.json is not the JSON it should be" in capsys.readouterr().err


def test_inspect_reads_the_single_file_that_training_writes(
    published: Callable[..., tuple[int, Any]], folder: Path
) -> None:
    """`--output` writes one file where the name ends in .mlb, a directory elsewhere."""
    trained = ("train", "train.py", "--data", "visits.csv", "--output")

    code, result = published(*trained, "mail/visits.mlb")
    assert (code, result["output"]) == (0, "mail/visits.mlb")
    assert (folder / "mail" / "visits.mlb").is_file()
    assert published("inspect", "mail/visits.mlb")[1]["version"] == result["version"]

    assert published(*trained, "visits.folder")[0] == 0
    assert (folder / "visits.folder" / "manifest.json").is_file()


HOSTILE = "\x1b]0;owned\x07\x1b[2J\rsafe\x9b31m\u202e[/x][red]\\[bold]"


def test_inspect_lets_no_bundle_steer_the_terminal(shown: Shown) -> None:
    """Escapes, returns and turned writing are written out, and markup is plain text."""
    task = dataclasses.replace(TOY.manifest.task, label=HOSTILE)
    columns = tuple(
        dataclasses.replace(column, unit=HOSTILE, vocabulary=(HOSTILE, "b"), rare=True)
        if column.name == "town"
        else column
        for column in COLUMNS
    )
    text = shown(
        changed(task=task, columns=columns, training={HOSTILE: HOSTILE}, features=(HOSTILE,))
    )

    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(text)
    assert r"\x1b]0;owned\x07" in text
    assert r"[/x][red]\[bold]" in text.replace("\n", "")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("made", [lambda: TOY, pixels_bundle, mixed_bundle])
def test_inspect_fits_a_terminal(tmp_path: Path, made: Callable[[], Bundle], width: int) -> None:
    """No line is wider than the terminal, and none is cut."""
    write_bundle(made(), tmp_path / "bundle.mlb")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, width))
    command = [sys.executable, "-m", "mlembed", "inspect", "bundle.mlb"]

    with subprocess.Popen(command, stdout=theirs, cwd=tmp_path, env=_plain_terminal()) as process:
        os.close(theirs)
        drawn = _read_all(ours)

    lines = drawn.replace("\r", "").splitlines()
    assert process.returncode == 0
    assert max(map(len, lines)) <= width
    assert "…" not in drawn
    assert made().id in drawn


def _plain_terminal() -> dict[str, str]:
    rest = {key: text for key, text in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    root = Path(__file__).parents[2]
    return {**rest, "TERM": "dumb", "NO_COLOR": "1", "PYTHONPATH": str(root)}


def _read_all(terminal: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def test_is_path_tells_files_from_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory with a manifest, a .mlb file and whatever has a slash are no references."""
    monkeypatch.chdir(tmp_path)
    write_bundle(TOY, Path("folder"))
    (tmp_path / "empty").mkdir()

    assert all(map(is_path, ("folder", "toy.mlb", "./folder", "/x/y", "none/at/all")))
    assert not any(map(is_path, ("toy", "toy@champion", "toy@1.0.0", "empty", "toy.mlb@champion")))
