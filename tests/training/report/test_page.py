"""The page shows what a bundle tells, escapes it all, needs nothing else and reads in a browser."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.manifest import Task
from mlembed.errors import BundleError
from mlembed.tensors import Tensor
from mlembed.training.report import write_report
from training.report import scenes
from visits import trainer, visits

if TYPE_CHECKING:
    from collections.abc import Mapping

SCENES: dict[str, tuple[Any, Mapping[str, Any], Mapping[str, Any]]] = {
    "binary": (scenes.manifest(), scenes.binary(), scenes.PROOF),
    "regression": (scenes.regression_manifest(), scenes.regression(), scenes.PROOF),
    "minimal": (scenes.manifest(), scenes.minimal(), scenes.PROOF),
    "odd": (*scenes.odd(), scenes.PROOF),
    "unmeasured": (scenes.manifest(training={}), {}, {}),
}
_VOID = {"meta", "br", "wbr"}
_APART = {"td", "th", "title", "desc", "text", "dd", "dt"}


class Page(HTMLParser):
    """Reads a page: its elements with their attributes and all of its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parents: list[tuple[str, str]] = []
        self.text = ""
        self._open = [""]
        self.feed(html)
        assert self._open == [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.parents.append((self._open[-1], tag))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in _APART:
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        if self._open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element *tag*."""
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(scene: str) -> Page:
    """Return the page of a scene."""
    return Page(write_report(*SCENES[scene]))


def sections(page: Page) -> list[str]:
    """Return the anchors of the page's sections."""
    return [str(item["id"]) for item in page.all("section")]


def test_report_of_a_whole_evaluation_has_every_section() -> None:
    """What was measured is shown, in the order in which a reader asks."""
    page = page_of("binary")

    assert sections(page) == [
        *("gates", "metrics", "champion", "contest", "quality", "slices", "importance"),
        *("folds", "leakage", "data", "proof", "limits", "origin"),
    ]


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("minimal", ["metrics", "proof", "limits", "origin"]),
        ("unmeasured", ["limits", "origin"]),
    ],
)
def test_report_has_no_empty_section(scene: str, expected: list[str]) -> None:
    """A section without numbers is left out, and so is the link to it."""
    page = page_of(scene)

    assert sections(page) == expected
    assert [link["href"] for link in page.all("a")] == [f"#{anchor}" for anchor in expected]


@pytest.mark.parametrize("scene", SCENES)
def test_report_has_headings_in_order(scene: str) -> None:
    """One h1, and no level is skipped on the way down."""
    levels = [int(tag[1]) for tag, _ in page_of(scene).elements if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("scene", SCENES)
def test_report_names_every_drawing(scene: str) -> None:
    """Each drawing is an image with a title and a description; each heading of a table is one."""
    page = page_of(scene)

    drawings = page.all("svg")
    assert all(svg["role"] == "img" for svg in drawings)
    assert page.parents.count(("svg", "title")) == len(drawings)
    assert page.parents.count(("svg", "desc")) == len(drawings)
    assert {head["scope"] for head in page.all("th")} <= {"col", "row"}


def test_report_tells_each_plot_in_numbers() -> None:
    """Every figure with axes has its numbers as a table behind it."""
    page = page_of("binary")

    plots = [item for item in page.all("figure") if "plot" in str(item["class"])]
    assert len(plots) == 8
    assert page.parents.count(("details", "summary")) == len(plots) + 1


@pytest.mark.parametrize("scene", SCENES)
def test_report_has_no_odd_number(scene: str) -> None:
    """Neither rounding errors nor values that are none are written out."""
    text = page_of(scene).text.replace("'member': True", "").replace("[0, inf)", "")

    assert not re.search(r"[1-9]\d*\.\d{5,}|\.0*[1-9]\d{4,}", text)
    assert not re.search(r"\b(nan|inf|None|True|False|Undefined)\b", text)


def test_report_says_which_gate_failed() -> None:
    """The first line tells that nothing was published, and why, in words and a sign."""
    page = page_of("regression")

    assert "✗ not published" in page.text
    assert "1 of 2 gates failed. floor: mae <= 20 asked, 21.4 found." in page.text
    assert page.text.index("✗ failed") < page.text.index("✓ passed")


def test_report_escapes_what_comes_from_data() -> None:
    """Names and values that look like HTML or a template are shown, never run."""
    html = write_report(*SCENES["odd"])
    page = Page(html)

    assert scenes.EVIL not in html
    assert scenes.EVIL in page.text
    assert scenes.ODD[0] in page.text
    assert "{{ 7*7 }}" in page.text
    assert not page.all("script")
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


@pytest.mark.parametrize("scene", SCENES)
def test_report_loads_nothing(scene: str) -> None:
    """The page names no other file, and its policy permits its own style alone."""
    page = page_of(scene)

    policy = next(str(m["content"]) for m in page.all("meta") if "http-equiv" in m)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert not [a for _, a in page.elements if a.keys() & {"src", "srcset", "style"}]
    assert not page.all("link")
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))


def test_report_of_thirty_columns_stays_small() -> None:
    """A wide table gives a page that a browser opens at once."""
    html = write_report(scenes.manifest(), scenes.wide(), scenes.PROOF)

    assert len(html.encode()) < 400_000


def test_report_comes_from_a_bundle_alone() -> None:
    """What a trainer wrote into a bundle is enough for its page."""
    bundle = trainer().train(visits(1200)).bundle

    told = (bundle.json("evaluation.json"), bundle.json("proof.json"))
    page = Page(write_report(bundle.manifest, *told))

    assert {"metrics", "contest", "quality", "proof", "limits"} <= set(sections(page))
    assert "The score is the probability that 'ordered' is yes" in page.text


def test_report_is_the_same_twice() -> None:
    """One bundle has one page."""
    assert write_report(*SCENES["binary"]) == write_report(*SCENES["binary"])


def test_report_of_tensors_lists_them() -> None:
    """A graph that takes tensors has them as its input."""
    made = dataclasses.replace(
        scenes.manifest(task=Task(kind="regression", label="depth")),
        columns=(),
        inputs=(Tensor(name="pixels", dtype="float32", shape=("N", 3, 32, 32)),),
    )

    text = Page(write_report(made, {}, {})).text

    assert "float32[N, 3, 32, 32]" in text
    assert "was not trained here, nor measured" in text


@pytest.mark.parametrize(
    "damage",
    [
        {"slices": [{"column": "a"}]},
        {"slices": 5},
        {"calibration": [{"n": "many"}]},
        {"curves": {"roc": {"x": [0, 1], "y": [0]}}},
        {"folds": {"sides": [{"side": "test", "from": "soon", "until": "later"}]}},
        {"champion": {"title": "a@1.0.0"}},
        {"bootstrap": {"clusters": 3}},
        {"contest": {"candidates": {"a": 1.0}}},
        {"n": "ten", "positives": 2},
        {"curves": {"cost": {"x": [1e308, -1e308], "y": [1e308, -1e308]}}},
    ],
)
def test_report_refuses_a_damaged_evaluation(damage: dict[str, Any]) -> None:
    """An evaluation in another layout is an error that names the bundle, never a half page."""
    with pytest.raises(BundleError, match=r"visits@1.4.0: evaluation.json .* train or pack"):
        write_report(scenes.manifest(), {**scenes.binary(), **damage}, scenes.PROOF)


@pytest.mark.parametrize("proof", [{"groups": 5}, {"groups": {"held-out": {"n_rows": 1}}}])
def test_report_refuses_a_damaged_proof(proof: dict[str, Any]) -> None:
    """A proof in another layout is refused as an evaluation is."""
    with pytest.raises(BundleError, match=r"visits@1.4.0: .* proof.json is not as mlembed writes"):
        write_report(scenes.manifest(), {}, proof)


def test_report_of_one_gate_says_so() -> None:
    """A single gate is not many."""
    evaluation = {**scenes.minimal(), "gates": scenes.binary()["gates"][:1]}

    assert "The one gate was passed." in Page(write_report(scenes.manifest(), evaluation, {})).text
