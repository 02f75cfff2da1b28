"""A challenger serves only after it beat the champion on rows that neither has seen."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from mlembed.errors import DataError, NotFoundError, SettingsError
from mlembed.monitoring.log import read_log
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from mlembed.training import Binary, Gates, Multiclass
from mlembed.training.gate import Gate
from mlembed.training.retraining import retrain
from visits import Visit, trainer, visits

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.monitoring.log import PredictionLog
    from mlembed.settings import Settings
    from mlembed.training.gate import Verdict


class Trade:
    """A registry with a champion, and a log of what it answered."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.registry = FileRegistry(folder / "registry")
        self.settings = settings
        # A champion made an hour ago, so that what is logged now is new to it.
        made = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        bundle = trainer().train(visits(2000), provenance={"data_until": made.isoformat()}).bundle
        self.registry.publish(bundle)
        self.registry.promote("visits", "champion", bundle.manifest.version)

    def serve(self, n: int, seed: int, *, changed: bool, truth: Any = "ordered") -> None:
        """Predict *n* visits in batches and report what came of each."""
        table = visits(n, seed, changed=changed)
        model = mlembed.load("visits", registry=self.registry, settings=self.settings)
        for start in range(0, n, 100):
            rows = slice(start, start + 100)
            batch = model.predict_batch({name: table[name][rows] for name in Visit.model_fields})
            values = table[truth][rows] if isinstance(truth, str) else [truth] * len(batch)
            for name, value in zip(batch.ids, values, strict=True):
                model.outcome(name, value)
        model.close()

    def log(self) -> PredictionLog:
        """Read what was logged."""
        return read_log(self.settings.log_dir, "visits")

    def retrain(self, **options: Any) -> Verdict:
        """Retrain on the log."""
        declared = options.pop("trainer", trainer())
        return retrain(declared, self.registry, self.log(), **options)

    def aliases(self) -> dict[str, str]:
        """Return the version of each alias."""
        return {
            alias: self.registry.pointer("visits", alias).version
            for alias in self.registry.aliases("visits")
        }


@pytest.fixture
def trade(tmp_path: Path, settings: Settings) -> Trade:
    """Return a trade that has served nothing yet."""
    return Trade(tmp_path, settings)


def test_retrain_promotes_what_is_better(trade: Trade) -> None:
    """After behaviour changed the challenger wins, is promoted, and its origin is kept."""
    trade.serve(3000, 1, changed=True)

    verdict = trade.retrain()

    assert verdict.promoted, verdict.reason
    assert trade.aliases() == {"champion": "1.1.0", "challenger": "1.1.0"}
    assert verdict.comparison is not None
    assert verdict.comparison.low is not None
    assert verdict.comparison.low > 0
    manifest = trade.registry.fetch(trade.registry.resolve(Ref("visits"))).manifest
    assert manifest.training["champion"] == "visits@1.0.0"
    assert manifest.training["source"] == "prediction log"
    assert "better" in trade.registry.pointer("visits", "champion").reason


def test_retrain_keeps_the_champion_where_nothing_changed(trade: Trade) -> None:
    """A challenger that is not shown to be better is published for a look, never promoted."""
    trade.serve(2000, 1, changed=False)

    verdict = trade.retrain()

    assert not verdict.promoted
    assert trade.aliases() == {"champion": "1.0.0", "challenger": "1.1.0"}
    assert "not promoted" in verdict.summary()
    assert "chance" in verdict.reason or "no better" in verdict.reason


def test_retrain_tolerates_the_margin(trade: Trade) -> None:
    """With a margin a challenger that is about as good may replace the champion."""
    trade.serve(3000, 1, changed=False)

    verdict = trade.retrain(gate=Gate(margin=0.2))

    assert verdict.promoted
    assert "margin" in verdict.reason


def test_retrain_compares_on_rows_neither_has_seen(trade: Trade) -> None:
    """Rows to learn from are older than every row to compare on, and newer ones than the champion's."""
    trade.serve(2000, 1, changed=True)
    trade.retrain()
    until = trade.registry.fetch(trade.registry.resolve(Ref("visits"))).manifest.training[
        "data_until"
    ]
    seen = dt.datetime.fromisoformat(until).timestamp() * 1e9
    trade.serve(1500, 2, changed=True)

    verdict = trade.retrain()

    log = trade.log()
    newest = np.sort(log.time_ns)[-verdict.n_test :]
    assert (newest > seen).all()
    assert verdict.n_train + verdict.n_test == len(log)


def test_retrain_waits_for_enough_outcomes(trade: Trade) -> None:
    """Too few rows is an answer of its own: nothing is trained, the message says what is needed."""
    trade.serve(400, 1, changed=True)

    verdict = trade.retrain()

    assert not verdict.promoted
    assert verdict.challenger == ""
    assert "too few logged rows" in verdict.reason
    assert "300 of each" in verdict.reason
    assert trade.aliases() == {"champion": "1.0.0"}


def test_retrain_refuses_a_log_that_the_champion_has_seen(trade: Trade) -> None:
    """Rows from before the end of the champion's training are never compared on."""
    trade.serve(2000, 1, changed=True)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    bundle = (
        trainer(version="1.1.0")
        .train(visits(2000), provenance={"data_until": later.isoformat()})
        .bundle
    )
    trade.registry.publish(bundle)
    trade.registry.promote("visits", "champion", "1.1.0")

    verdict = trade.retrain()

    assert verdict.n_test == 0
    assert "has not seen" in verdict.reason


@pytest.mark.parametrize("until", ["10", "20240110", "2.5"])
def test_retrain_of_a_champion_of_numbered_times_goes_by_when_it_was_made(
    trade: Trade, until: str
) -> None:
    """A count, such as a week, is no moment of the log: what was logged before is not new."""
    trade.serve(300, 1, changed=False)
    bundle = trainer().train(visits(2000), version="1.1.0", provenance={"data_until": until}).bundle
    trade.registry.publish(bundle)
    trade.registry.promote("visits", "champion", "1.1.0")

    verdict = trade.retrain(dry_run=True)

    assert "and 0 newer ones that visits@1.1.0 has not seen" in verdict.reason


def test_retrain_needs_both_classes(trade: Trade) -> None:
    """Outcomes of one class alone cannot be learnt from, and say so."""
    trade.serve(1500, 1, changed=True, truth=True)

    with pytest.raises(DataError, match="one class"):
        trade.retrain()


def test_retrain_dry_run_changes_nothing(trade: Trade) -> None:
    """A dry run tells what would happen; versions and aliases stay."""
    trade.serve(3000, 1, changed=True)

    verdict = trade.retrain(dry_run=True)

    assert not verdict.promoted
    assert "dry run" in verdict.reason
    assert trade.registry.versions("visits") == ["1.0.0"]


def test_retrain_keeps_the_champion_below_the_floor(trade: Trade) -> None:
    """A challenger below the declared floor is not published, and the reason holds the floor."""
    trade.serve(2000, 1, changed=True)

    verdict = trade.retrain(trainer=trainer(gates=Gates(floor=0.999)))

    assert not verdict.promoted
    assert "floor" in verdict.reason
    assert trade.registry.versions("visits") == ["1.0.0"]


def test_retrain_without_outcomes_says_how_to_report_them(trade: Trade) -> None:
    """A log without outcomes cannot be learnt from; the remedy is in the message."""
    model = mlembed.load("visits", registry=trade.registry, settings=trade.settings)
    model.predict_batch({name: visits(50)[name] for name in Visit.model_fields})
    model.close()

    with pytest.raises(DataError, match=r"model\.outcome"):
        trade.retrain()


def test_retrain_leaves_out_fallbacks_and_unclear_outcomes(trade: Trade) -> None:
    """Rows without features, or whose outcome is no label, are not learnt from."""
    trade.serve(1500, 1, changed=True)
    model = mlembed.load("visits", registry=trade.registry, settings=trade.settings, fallback=0.0)
    fallen = model.predict({"minutes": -1.0})
    model.outcome(fallen.id, "yes")
    table = visits(1, 5)
    odd = model.predict({name: table[name][0] for name in Visit.model_fields})
    model.outcome(odd.id, 7.5)
    model.close()

    verdict = trade.retrain(trainer=trainer(label=Binary("ordered", positive=True)))

    assert verdict.n_train + verdict.n_test == 1500


def test_retrain_needs_a_champion(tmp_path: Path, trade: Trade) -> None:
    """Without a champion there is nothing to compare with: the registry says what it has."""
    trade.serve(100, 1, changed=True)

    with pytest.raises(NotFoundError):
        retrain(trainer(), FileRegistry(tmp_path / "empty"), trade.log())


@pytest.mark.parametrize("bad", [{"share": 0.0}, {"share": 1.0}, {"margin": -1}, {"min_rows": 0}])
def test_gate_refuses_nonsense(bad: dict[str, Any]) -> None:
    """A gate that could never be met, or always, is refused."""
    with pytest.raises(SettingsError, match="gate"):
        Gate(**bad)


def test_retrain_refuses_a_champion_of_another_kind(trade: Trade) -> None:
    """A label of several classes cannot face a champion of two; nothing is published."""
    trade.serve(100, 1, changed=True)

    with pytest.raises(DataError, match="binary label, the Trainer with a multiclass one"):
        trade.retrain(trainer=trainer(label=Multiclass("ordered"), metric="error"))

    assert trade.registry.versions("visits") == ["1.0.0"]


def test_retrain_draws_whole_entities(trade: Trade) -> None:
    """With an entity, which a log knows by its key, the comparison counts entities and not rows."""
    table = visits(1600, 1, changed=True)
    model = mlembed.load("visits", registry=trade.registry, settings=trade.settings)
    for row in range(1600):
        record = {name: table[name][row] for name in Visit.model_fields}
        p = model.predict(record, key=f"customer {row % 40}")
        model.outcome(p.id, table["ordered"][row])
    model.close()

    verdict = trade.retrain(trainer=trainer(entity="customer"))

    assert verdict.comparison is not None
    assert verdict.comparison.clusters == 40
