"""`mlembed pack`, and what the other commands make of a model that takes tensors."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlembed.cli.app import run
from mlembed.settings import default_settings
from processes import run_script
from tensorgraphs import data, mixed_model, odds, pixels_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

PIXELS = [[[0.1, 0.2], [0.3, 0.4]]]
PACK = ("pack", "pixels.onnx", "--name", "pixels", "--score", "odds:2")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a working directory with pixels.onnx, and an empty registry in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLEMBED_REGISTRY", str(tmp_path / "reg"))
    monkeypatch.setenv("MLEMBED_LOG_DIR", str(tmp_path / "log"))
    default_settings.cache_clear()
    (tmp_path / "pixels.onnx").write_bytes(data(pixels_model()))
    yield tmp_path
    default_settings.cache_clear()


@pytest.fixture
def call(work: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command: its exit code and what it said."""
    assert work.is_dir()

    def called(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return called


def test_pack_publishes_what_another_process_serves(call: Call, work: Path) -> None:
    """From a file to an answer elsewhere, with the log that the monitor reads."""
    code, said = call(*PACK, "--alias", "champion", "--description", "odds of three classes")
    assert code == 0, said
    assert "pixels  float32[N, 2, 2]" in said
    assert "proved on made up inputs; the score is odds:2" in said
    assert "champion now means 1.0.0" in said

    told = run_script(
        """
        import json, sys
        import numpy as np
        import mlembed

        model = mlembed.load("pixels@champion")
        p = [model.predict({"pixels": np.array(json.loads(sys.argv[1]), np.float32)})] * 40
        for _ in range(39):
            model.predict({"pixels": np.array(json.loads(sys.argv[1]), np.float32)})
        model.close()
        print(json.dumps([p[0].score, p[0].outputs["odds"].tolist()]))
        """,
        json.dumps(PIXELS),
    )

    score, given = json.loads(told)
    assert np.allclose(given, odds(np.array(PIXELS, np.float32)), atol=1e-6)
    assert score == given[0][2]
    code, said = call("monitor", "pixels")
    assert code == 0
    assert "nothing stands out in 40 calls" in said
    assert "there is no column profile" in said
    code, said = call("monitor", "pixels", "--json")
    assert json.loads(said)["traffic"]["calls"] == 40
    code, said = call("monitor", "pixels", "--html", "page.html")
    assert (code, (work / "page.html").exists()) == (2, False)
    assert "takes tensors, of which there is no page; leave --html out" in said


def test_pack_takes_the_next_version(call: Call) -> None:
    """As training does, where none is named; a version never changes."""
    assert call(*PACK)[0] == 0
    code, said = call(*PACK, "--json")

    assert (code, json.loads(said)["version"]) == (0, "1.1.0")
    assert call(*PACK, "--version", "3.0.0")[0] == 0
    code, said = call(*PACK, "--version", "3.0.0", "--score", "odds:1")
    assert code == 2
    assert "published already with other contents" in said


def test_a_dry_run_publishes_nothing(call: Call, work: Path) -> None:
    """All but the publishing is done, without a registry too."""
    code, said = call(*PACK, "--dry-run", "--alias", "champion", "--output", "bundle")

    assert code == 0
    assert "nothing was published" in said
    assert not (work / "bundle").exists()
    assert not (work / "reg" / "pixels").exists()


def test_a_bundle_is_written_into_a_directory(
    call: Call, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no registry then, and inspect reads it."""
    monkeypatch.delenv("MLEMBED_REGISTRY")
    default_settings.cache_clear()

    code, said = call(*PACK, "--output", "bundle")

    assert code == 0, said
    assert "written to bundle" in said
    assert (work / "bundle" / "model.onnx").read_bytes() == (work / "pixels.onnx").read_bytes()
    code, said = call("inspect", str(work / "bundle"))
    assert code == 0
    assert call(*PACK)[0] == 2
    assert "--alias needs a registry" in call(*PACK, "--output", "other", "--alias", "champion")[1]


def test_inspect_shows_the_tensors(call: Call) -> None:
    """A table for people, the manifest for programs."""
    call(*PACK, "--description", "odds of [three] classes")

    _, said = call("inspect", "pixels@1.0.0")
    _, manifest = call("inspect", "pixels@1.0.0", "--json")

    for words in ("float32[N, 2, 2]", "int64[N]", "the score is odds:2", "odds of [three] classes"):
        assert words in said
    assert json.loads(manifest)["inputs"] == [
        {"name": "pixels", "dtype": "float32", "shape": ["N", 2, 2]}
    ]


def test_predict_takes_json(call: Call) -> None:
    """Nested lists become the tensor; the answer holds every output."""
    call(*PACK, "--alias", "champion")

    code, said = call("predict", "pixels", json.dumps({"pixels": PIXELS}))

    answer = json.loads(said)
    assert code == 0
    assert answer["score"] == answer["outputs"]["odds"][0][2]
    code, said = call("predict", "pixels", '{"pixels": [1, 2]}')
    assert code == 2
    assert "'pixels' is float32[2], expected float32[N, 2, 2]" in said


def test_predict_takes_files_of_tensors(call: Call, work: Path) -> None:
    """`.npz` of one call, `.json` of several; the answers on standard output or in a file."""
    call(*PACK, "--alias", "champion")
    np.savez(work / "one.npz", pixels=np.array(PIXELS, np.float32))
    (work / "two.json").write_text(json.dumps([{"pixels": PIXELS}] * 2))

    code, said = call("predict", "pixels", "--data", "one.npz")
    assert code == 0
    assert len(json.loads(said)) == 1
    code, said = call("predict", "pixels", "--data", "two.json", "--output", "answers.json")

    assert (code, said.strip()) == (0, "2 answers of pixels@1.0.0 in answers.json")
    assert len(json.loads((work / "answers.json").read_text())) == 2
    (work / "table.csv").write_text("pixels\n1\n")
    code, said = call("predict", "pixels", "--data", "table.csv")
    assert code == 2
    assert "give .json, or .npz of plain arrays" in said
    code, said = call("predict", "pixels", "--data", "one.npz", "--output", "gone/answers.json")
    assert code == 2
    assert "cannot be written to gone/answers.json" in said


def test_pack_takes_an_example(call: Call, work: Path) -> None:
    """What the graph makes of it is what is replayed."""
    (work / "mixed.onnx").write_bytes(data(mixed_model()))
    example = {"text": ["a"], "ids": [[1, 2]], "mask": [[True, False]], "scale": 0.5}
    (work / "example.json").write_text(json.dumps(example))

    code, said = call("pack", "mixed.onnx", "--name", "mixed", "--example", "example.json")

    assert code == 0, said
    assert "proved on given inputs; no score: name one with --score" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("gone.onnx",), "gone.onnx cannot be read (No such file"),
        (("pixels.csv",), "is no ONNX model"),
        (("pixels.onnx", "--score", "odd"), "the score must be a number of an output"),
        (("pixels.onnx", "--alias", "1.0.0"), "--alias takes a word"),
        (("pixels.onnx", "--example", "gone.json"), "the example gone.json cannot be read"),
        (("pixels.onnx", "--version", "one"), "its version major.minor.patch"),
    ],
)
def test_what_cannot_be_packed_is_told(
    call: Call, work: Path, arguments: tuple[str, ...], why: str
) -> None:
    """One line, exit 2, and nothing is published."""
    with (work / "pixels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a"], [1]])

    code, said = call("pack", *arguments, "--name", "pixels")

    assert code == 2
    assert said.startswith("error: ")
    assert why in said
    assert "has no model 'pixels'" in call("inspect", "pixels@1.0.0")[1]


def test_bench_times_tensors(call: Call, work: Path) -> None:
    """One call and a table, as for columns; a graph without a batch axis has no table."""
    assert call(*PACK)[0] == 0
    code, said = call("bench", "pixels@1.0.0", "--calls", "200", "--rows", "50", "--json")
    assert code == 0, said
    result = json.loads(said)
    assert (result["calls"], result["rows"], result["lost"]) == (200, 50, {})
    assert result["ratio_batch"] > 0

    (work / "mixed.onnx").write_bytes(data(mixed_model()))
    assert call("pack", "mixed.onnx", "--name", "mixed")[0] == 0
    code, said = call("bench", "mixed@1.0.0", "--calls", "200", "--json")
    assert code == 0, said
    assert json.loads(said)["ratio"] > 0
