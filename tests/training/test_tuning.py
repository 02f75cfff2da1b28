"""One study: the same each time, resumed where it stopped, shared, bounded, and never in the way."""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from mlembed.errors import DataError, DeclarationError
from mlembed.training import Binary, RandomSplit, TimeSplit, Tuning
from mlembed.training.contest import Contest, choose
from mlembed.training.fitting import prepare_table
from mlembed.training.progress import Steps
from mlembed.training.search import REASON
from mlembed.training.study import open_storage, owner
from mlembed.training.tuning import tune
from mlembed.training.vocabulary import learn
from processes import start_script
from training.orders import RANDOM, declare, declare_weight, orders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.training import Trainer
    from mlembed.training.fitting import Prepared

TABLE = orders(400)
ROWS: dict[str, Prepared] = {}
AS_IT_IS: dict[str, Any] = {"LogisticRegression": {}}  # the linear model, which is slower to fit
ALONE = {"OMP_NUM_THREADS": "1"}


class Heard:
    """A progress that keeps what it hears, and is interrupted at one call."""

    def __init__(self, stop_at: int = -1) -> None:
        self.told: list[tuple[int, int, str]] = []
        self._stop_at = stop_at

    def begin(self, step: str, number: int, total: int) -> None:
        """Hear nothing."""

    def advance(self, done: int, total: int, detail: str) -> None:
        """Keep it."""
        if len(self.told) == self._stop_at:
            raise KeyboardInterrupt
        self.told.append((done, total, detail))

    def end(self, detail: str) -> None:
        """Hear nothing."""


def trees(trials: int = 12, **changes: Any) -> Trainer:
    """Return a declaration whose two trees are tuned."""
    declared: dict[str, Any] = {
        "candidates": [DecisionTreeClassifier(), ExtraTreeClassifier()],
        "split": RANDOM,
        "folds": 3,
        "tuning": Tuning(trials=trials, spaces=AS_IT_IS),
    }
    return declare(**{**declared, **changes})


def rows_of(trainer: Trainer, table: dict[str, Any] = TABLE) -> Prepared:
    """Return a table in numbers, made once for the same rows, label and features."""
    key = repr((trainer.label, trainer.transforms, trainer.features, trainer.split))
    if table is not TABLE or key not in ROWS:
        read = trainer.read(table)
        found = prepare_table(trainer, learn(trainer.columns, read), read)
        if table is not TABLE:
            return found
        ROWS[key] = found
    return ROWS[key]


def search(
    trainer: Trainer,
    study: Path | None = None,
    heard: Heard | None = None,
    table: dict[str, Any] = TABLE,
) -> Contest:
    """Let the candidates compete, and be tuned."""
    return choose(trainer, rows_of(trainer, table), Steps.of(heard, 1), study)


def studies(path: Path) -> list[optuna.Study]:
    """Return the studies of a file."""
    storage = open_storage(path)
    names = optuna.study.get_all_study_names(storage)
    return [optuna.load_study(study_name=name, storage=storage) for name in sorted(names)]


def trials_of(path: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the only study of a file."""
    (study,) = studies(path)
    return study.get_trials()


def counted(path: Path) -> list[tuple[Any, ...]]:
    """Return what was drawn and measured in the trials that count."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return [(t.state, t.params, t.value) for t in trials_of(path) if t.state in states]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def test_tuning_is_the_same_twice(tmp_path: Path) -> None:
    """The same declaration and table give the same trials, in a file or in memory."""
    paths = [tmp_path / "a.study.jsonl", tmp_path / "b.study.jsonl"]

    found = [search(trees(15), path).tuned for path in (*paths, None)]

    assert found[0] is not None
    assert counted(paths[0]) == counted(paths[1])
    assert all(item is not None and item.to_json() == found[0].to_json() for item in found)


def test_tuning_differs_by_the_seed() -> None:
    """Another seed draws other settings."""
    first, second = (search(trees(5, seed=seed)).tuned for seed in (0, 1))

    assert first is not None
    assert second is not None
    assert first.parameters != second.parameters


@pytest.mark.parametrize("seed", range(2))
def test_tuning_goes_on_where_it_was_interrupted(tmp_path: Path, seed: int) -> None:
    """However often it is stopped, it ends with the trials and the settings of one that was not."""
    whole, parts = tmp_path / "whole.study.jsonl", tmp_path / "parts.study.jsonl"
    trainer, moments = trees(14), np.random.default_rng(seed)
    expected = search(trainer, whole).tuned

    for _ in range(4):
        with contextlib.suppress(KeyboardInterrupt):
            search(trainer, parts, Heard(stop_at=int(moments.integers(3, 10))))
    found = search(trainer, parts).tuned

    assert found is not None
    assert expected is not None
    assert counted(parts) == counted(whole)
    assert len(counted(parts)) == 14
    assert found.to_json() == expected.to_json()
    assert found.fold_values == expected.fold_values


def test_tuning_that_is_done_tries_nothing_more(tmp_path: Path) -> None:
    """A finished study is read, not searched anew; more trials are added where more are declared."""
    path = tmp_path / "a.study.jsonl"
    search(trees(6), path)
    before = counted(path)

    search(trees(6), path)
    again = len(trials_of(path))
    search(trees(9), path)

    assert again == 6
    assert counted(path)[:6] == before
    assert len(counted(path)) == 9


class Interrupting(Heard):
    """A progress after whose sixth trial Ctrl-C comes, wherever the search then is.

    Python drops an interrupt that comes while an object is finalised, as it does anybody's: it
    comes again a trial later, as from a person who waits.
    """

    timer: threading.Timer | None = None

    def advance(self, done: int, total: int, detail: str) -> None:
        """Keep it, and set the moment where none is set."""
        super().advance(done, total, detail)
        pending = self.timer is not None and self.timer.is_alive()
        if detail.startswith("best") and done >= 6 and not pending:
            self.timer = threading.Timer(0.02, _thread.interrupt_main)
            self.timer.start()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let an interrupt raise, where whoever began this run ignores them, as a shell's `&` does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_tuning_that_is_interrupted_amid_a_trial(tmp_path: Path) -> None:
    """Ctrl-C in a fit leaves no trial to this process, which lives on and may search again."""
    path = tmp_path / "a.study.jsonl"
    trainer = trees(5000)

    with pytest.raises(KeyboardInterrupt):
        search(trainer, path, Interrupting())

    states = [trial.state for trial in trials_of(path)]
    assert 6 <= len(states) < 5000
    assert not states.count(TrialState.RUNNING)
    assert states.count(TrialState.FAIL) <= 1
    assert len(counted(path)) >= 6


def running(path: Path, who: str) -> None:
    """Leave a trial of *who* behind that is not finished, with settings and a value so far."""
    (study,) = studies(path)
    begun = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"owner": who})
    storage = study._storage
    key = storage.create_new_trial(storage.get_study_id_from_name(study.study_name), begun)
    trial = optuna.trial.Trial(study, key)
    drawn = trials_of(path)[0].distributions["candidate"]
    assert isinstance(drawn, optuna.distributions.CategoricalDistribution)
    trial.suggest_categorical("candidate", drawn.choices)
    trial.report(0.9, 0)


def test_tuning_fails_the_trial_of_a_dead_process(tmp_path: Path) -> None:
    """What a killed process left does not count, and changes nothing of what is found."""
    path, whole = tmp_path / "a.study.jsonl", tmp_path / "whole.study.jsonl"
    host, pid, started, _ = owner().split(" ")
    search(trees(4), path)
    running(path, f"{host} {pid} {int(started) - 1}")
    search(trees(10), whole)

    search(trees(10), path)

    assert [t.state for t in trials_of(path)][4] == TrialState.FAIL
    assert counted(path) == counted(whole)
    assert len(counted(path)) == 10


def test_tuning_leaves_the_trial_of_a_living_process_alone(tmp_path: Path) -> None:
    """What another process is at, here or on another machine, is left to it and does not count."""
    path = tmp_path / "a.study.jsonl"
    search(trees(4), path)
    script = """
        import sys
        from mlembed.training.study import owner
        print(owner(), flush=True)
        sys.stdin.read()
    """
    with start_script(script) as process:
        assert process.stdout is not None
        for who in (process.stdout.readline().strip(), "elsewhere 1 1"):
            running(path, who)

        search(trees(8), path)

        states = [t.state for t in trials_of(path)]
        process.communicate("")
    assert states[4:6] == [TrialState.RUNNING] * 2
    assert len(counted(path)) == 8


SHARED = """
    import os, sys, traceback
    from pathlib import Path
    from training.test_tuning import rows_of, search, trees

    trainer = trees(16)
    rows_of(trainer)

    def part():
        try:
            search(trainer, Path(sys.argv[1]))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    children = [os.fork() or part() for _ in range(2)]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_tuning_is_shared_by_processes(tmp_path: Path) -> None:
    """Two at once lose no trial and repeat none; the total is what was declared, or one more."""
    path = tmp_path / "a.study.jsonl"

    with start_script(SHARED, path, environment=ALONE) as process:
        _, told = process.communicate(timeout=60)

    assert (process.returncode, told) == (0, "")
    found = counted(path)
    assert len(found) in (16, 17)
    assert {t.state for t in trials_of(path)} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({t.user_attrs["owner"] for t in trials_of(path)}) == 2
    at_random = [json.dumps(params) for _, params, _ in found[:8]]
    assert len(set(at_random)) == 8


def test_tuning_outlives_a_trial_that_another_ended(tmp_path: Path) -> None:
    """A trial that another process took for dead does not count, and the search goes on."""
    path = tmp_path / "a.study.jsonl"
    trainer = trees(8, candidates=[RandomForestClassifier(n_estimators=20, max_depth=3)])
    over = threading.Event()
    failed: list[int] = []

    def meddle() -> None:
        while not over.is_set() and not failed:
            if not path.exists():
                continue
            for study in studies(path):
                for trial in study.get_trials(states=(TrialState.RUNNING,)):
                    told = study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                    if told.state == TrialState.FAIL:
                        failed.append(trial.number)

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        found = search(trainer, path).tuned
    finally:
        over.set()
        meddler.join()

    assert failed
    assert found is not None
    assert len(found.best_so_far) == len(counted(path)) == 8


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("table", {}, orders(400, seed=1)),
    ("rows", {}, orders(401)),
    ("seed", {"seed": 1}, TABLE),
    ("folds", {"folds": 2}, TABLE),
    ("split", {"split": RandomSplit(test=0.25, reason="r", seed=1)}, TABLE),
    ("metric", {"metric": "brier"}, TABLE),
    ("positive", {"label": Binary("returned", positive="no")}, TABLE),
    ("threshold", {"label": Binary("returned", positive="yes", threshold=0.4)}, TABLE),
    ("transform", {"transforms": {}}, TABLE),
    ("features", {"features": ["total", "days"]}, TABLE),
    ("setting", {"candidates": [DecisionTreeClassifier(splitter="random")]}, TABLE),
    ("candidate", {"candidates": [DecisionTreeClassifier()] * 2}, TABLE),
    (
        "space",
        {"tuning": Tuning(trials=1, spaces={"DecisionTreeClassifier": {"max_depth": (1, 2)}})},
        TABLE,
    ),
]


@pytest.mark.parametrize(
    ("changes", "table"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_tuning_begins_anew_where_trials_could_not_be_compared(
    tmp_path: Path, changes: dict[str, Any], table: dict[str, Any]
) -> None:
    """Another table, declaration or fold has a study of its own, in the same file."""
    path = tmp_path / "a.study.jsonl"
    search(trees(1), path)

    search(trees(1, **changes), path, table=table)
    search(trees(1, **changes), path, table=table)

    assert [len(study.trials) for study in studies(path)] == [1, 1]


def test_tuning_begins_anew_where_a_gap_changes_the_training_side(tmp_path: Path) -> None:
    """Folds with the same rows held out, and others to train on, are other folds."""
    path = tmp_path / "a.study.jsonl"

    for gap in (0.0, 36_000.0):
        search(trees(1, split=TimeSplit("placed", gap_seconds=gap)), path)

    assert len(studies(path)) == 2


def test_tuning_stops_what_is_below_the_median(tmp_path: Path) -> None:
    """A pruned trial was below the median of those before it on the same folds; no other was."""
    path = tmp_path / "a.study.jsonl"
    search(trees(30), path)

    pruned = [t for t in trials_of(path) if t.state == TrialState.PRUNED]

    assert 0 < len(pruned) < 25
    for trial in pruned:
        step = trial.last_step
        assert step is not None
        assert step < 2
        before = [
            t.intermediate_values[step]
            for t in trials_of(path)[: trial.number]
            if t.state == TrialState.COMPLETE
        ]
        assert len(before) >= 5
        assert max(trial.intermediate_values.values()) < np.median(before)
        assert REASON not in trial.user_attrs


def test_tuning_on_one_fold_stops_nothing(tmp_path: Path) -> None:
    """Where there is one fold every trial meets it."""
    path = tmp_path / "a.study.jsonl"

    tuned = search(trees(12, folds=1), path).tuned

    assert tuned is not None
    assert tuned.n_pruned == 0
    assert len(tuned.fold_values) == 1
    assert all(t.state == TrialState.COMPLETE for t in trials_of(path))


def test_tuning_tells_the_best_so_far() -> None:
    """The best value told never gets worse, begins with the declared and ends with what is found."""
    heard = Heard()

    contest = search(trees(10), heard=heard)

    told = [item for item in heard.told if item[2].startswith("best ")]
    best = [float(detail.removeprefix("best roc_auc ")) for _, _, detail in told]
    assert [done for done, _, _ in told] == list(range(11))
    assert {total for _, total, _ in told} == {10}
    assert best == sorted(best)
    assert best[-1] == pytest.approx(max(contest.means.values()), abs=1e-4)


def test_tuning_tells_the_best_of_a_metric_that_is_to_be_small(tmp_path: Path) -> None:
    """Less is better for an error: the least is told, found and kept."""
    heard, path = Heard(), tmp_path / "a.study.jsonl"
    trainer = declare_weight(candidates=[Ridge()], folds=3, tuning=Tuning(trials=10))

    contest = search(trainer, path, heard)

    assert contest.tuned is not None
    best = [float(detail.split()[-1]) for _, _, detail in heard.told if detail[:4] == "best"]
    measured = [t.value for t in trials_of(path) if t.state == TrialState.COMPLETE and t.value]
    assert best == sorted(best, reverse=True)
    assert np.mean(contest.tuned.fold_values) == pytest.approx(min(measured))
    so_far = [value for value in contest.tuned.best_so_far if value is not None]
    assert so_far == sorted(so_far, reverse=True)


def test_tuned_counts_every_trial() -> None:
    """The best value is known after each trial, those that were stopped included."""
    tuned = search(trees(20)).tuned

    assert tuned is not None
    told = tuned.to_json()
    assert told["trials"] == len(told["values"]) == 20
    assert told["pruned"] > 0
    assert told["values"][told["best_trial"]] == max(told["values"])
    assert told["values"][: told["best_trial"]] < [max(told["values"])]
    assert json.loads(json.dumps(told)) == told


def test_tuning_reaches_the_last_step_of_a_pipeline() -> None:
    """The settings of what predicts are searched, wherever it stands."""
    inner = Pipeline([("model", DecisionTreeClassifier())])
    trainer = trees(4, candidates=[make_pipeline(StandardScaler(), inner), LogisticRegression()])
    spaces = {**AS_IT_IS, "DecisionTreeClassifier": {"max_depth": (2, 3)}}
    trainer = dataclasses.replace(trainer, tuning=Tuning(trials=4, spaces=spaces))

    tuned = search(trainer).tuned

    assert tuned is not None
    assert list(tuned.parameters) == ["pipeline__model__max_depth"]
    assert tuned.competitor.estimator["pipeline"]["model"].max_depth in (2, 3)
    assert trainer.candidates[0]["pipeline"]["model"].max_depth is None


def test_tuning_keeps_to_the_declared_space(tmp_path: Path) -> None:
    """A declared space replaces the built-in one: nothing else is drawn."""
    path = tmp_path / "a.study.jsonl"
    spaces: dict[str, Any] = {
        "DecisionTreeClassifier": {"criterion": ["gini", "entropy"], "max_depth": (2, 4)},
        "ExtraTreeClassifier": {},
        **AS_IT_IS,
    }

    search(trees(8, tuning=Tuning(trials=8, spaces=spaces)), path)

    for trial in trials_of(path):
        drawn = dict(trial.params)
        assert drawn.pop("candidate") == "DecisionTreeClassifier"
        assert drawn.keys() == {
            "DecisionTreeClassifier.criterion",
            "DecisionTreeClassifier.max_depth",
        }
        assert drawn["DecisionTreeClassifier.criterion"] in ("'gini'", "'entropy'")
        assert 2 <= drawn["DecisionTreeClassifier.max_depth"] <= 4


def test_tuning_tells_candidates_of_one_class_apart(tmp_path: Path) -> None:
    """Two candidates of one class are tuned each for itself."""
    path = tmp_path / "a.study.jsonl"
    two = [DecisionTreeClassifier(), DecisionTreeClassifier(splitter="random")]

    search(trees(10, candidates=two), path)

    drawn = {trial.params["candidate"] for trial in trials_of(path)}
    assert {"DecisionTreeClassifier", "DecisionTreeClassifier 2"} <= drawn
    for trial in trials_of(path):
        names = {name.partition(".")[0] for name in trial.params if name != "candidate"}
        assert names == {trial.params["candidate"]}


@pytest.mark.parametrize(
    ("space", "words"),
    [({"max_iter": [1, 1000]}, "did not converge"), ({"C": [-1.0, 1.0]}, "refuses the table")],
)
def test_tuning_goes_on_where_settings_cannot_be_fitted(
    tmp_path: Path, space: Any, words: str
) -> None:
    """A trial that does not converge, or is refused, counts as stopped, with its reason."""
    path = tmp_path / "a.study.jsonl"
    tuning = Tuning(trials=8, spaces={"LogisticRegression": space})

    tuned = search(trees(candidates=[LogisticRegression()], tuning=tuning), path).tuned

    assert tuned is not None
    refused = [t for t in trials_of(path) if REASON in t.user_attrs]
    assert refused
    assert all(t.state == TrialState.PRUNED for t in refused)
    assert all(words in t.user_attrs[REASON] for t in refused)
    assert len(counted(path)) == 8
    assert tuned.n_pruned >= len(refused)


def test_tuning_of_settings_that_can_never_be_fitted(tmp_path: Path) -> None:
    """Where nothing of what was declared could be fitted, the error says why and what to do."""
    path = tmp_path / "a.study.jsonl"
    tuning = Tuning(trials=3, spaces={"LogisticRegression": {"C": (-2.0, -1.0)}})
    trainer = trees(candidates=[LogisticRegression()], tuning=tuning)

    with pytest.raises(DataError, match=r"none of 3 settings could be fitted.*'C'.*Tuning.spaces"):
        search(trainer, path)

    assert len(counted(path)) == 3


def test_tuning_of_the_added_linear_model_alone() -> None:
    """Where no candidate has settings to search, those of the linear model are."""
    contest = search(trees(5, candidates=[GaussianNB()], tuning=Tuning(trials=5, spaces=NAIVE)))

    assert contest.tuned is not None
    assert contest.tuned.competitor.name == "LogisticRegression (linear) (tuned)"
    assert contest.tuned.competitor.role == "linear"


NAIVE: dict[str, Any] = {"GaussianNB": {}}


def test_tuning_of_the_added_linear_model_may_find_nothing() -> None:
    """Nobody asked for the linear model: that its settings cannot be fitted stops no run."""
    spaces = {**NAIVE, "LogisticRegression": {"C": (-2.0, -1.0)}}

    contest = search(trees(candidates=[GaussianNB()], tuning=Tuning(trials=2, spaces=spaces)))

    assert contest.tuned is None
    assert contest.chosen.name in ("GaussianNB", "LogisticRegression (linear)")


def test_tuning_with_nothing_to_search(tmp_path: Path) -> None:
    """Without a space there is no study."""
    path = tmp_path / "a.study.jsonl"
    spaces = {**NAIVE, "LogisticRegression": {}}

    contest = search(trees(candidates=[GaussianNB()], tuning=Tuning(spaces=spaces)), path)

    assert contest.tuned is None
    assert path.read_bytes() == b""


def test_tuning_ends_in_time(tmp_path: Path) -> None:
    """The search ends with the fit that is under way when the seconds are over, and goes on later."""
    path = tmp_path / "a.study.jsonl"
    short = trees(tuning=Tuning(trials=10_000, seconds=0.6))
    rows = rows_of(short)

    start = time.monotonic()
    contest = choose(short, rows, Steps.of(None, 1), path)
    seconds = time.monotonic() - start

    n_first = len(counted(path))
    choose(short, rows, Steps.of(None, 1), path)
    assert contest.tuned is not None
    assert 0.6 <= seconds < 10
    assert n_first < len(counted(path)) < 10_000


def test_tuning_ends_between_folds(tmp_path: Path) -> None:
    """A trial that the end of the time cuts short does not count."""
    path = tmp_path / "a.study.jsonl"
    forest = RandomForestClassifier(n_estimators=60)
    spaces = {"RandomForestClassifier": {"max_depth": (8, 9)}, "LogisticRegression": {}}
    tuning = Tuning(trials=50, seconds=0.01, spaces=spaces)

    contest = search(trees(candidates=[forest], tuning=tuning), path)

    assert contest.tuned is None
    (trial,) = trials_of(path)
    assert trial.state == TrialState.FAIL
    assert len(trial.intermediate_values) == 1


def test_tuning_of_no_time_tries_nothing() -> None:
    """The declared settings compete alone."""
    contest = search(trees(tuning=Tuning(seconds=1e-9)))

    assert contest.tuned is None
    assert len(contest.values) == 4


OTHER = """
    import optuna, sys, warnings
    from pathlib import Path
    from sklearn.linear_model import Lasso, SGDRegressor
    from mlembed.errors import DataError
    from mlembed.training import Tuning
    from training.orders import declare_weight
    from training.test_tuning import search, trees

    warnings.simplefilter("always")
    filters, before = list(warnings.filters), optuna.logging.get_verbosity()
    spaces = {
        "SGDRegressor": {"eta0": (1e-3, 1e12, "log"), "max_iter": [1, 2, 1000]},
        "Lasso": {"alpha": [0.0, 0.1]},
    }
    candidates, tuning = [Lasso(), SGDRegressor()], Tuning(trials=12, spaces=spaces)
    search(declare_weight(candidates=candidates, folds=3, tuning=tuning), Path("a.jsonl"))
    Path("a.jsonl").write_text('{"op_code":0}\\n')
    try:
        search(trees(2), Path("a.jsonl"))
    except DataError as error:
        print("is damaged" in str(error))
    print(before == optuna.logging.get_verbosity(), filters == list(warnings.filters))
    print(search(trees(12)).tuned.to_json())
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what another process says that tunes, and goes wrong in between; stderr comes last."""
    environment = ALONE | {"PYTHONHASHSEED": "7"}
    folder = tmp_path_factory.mktemp("other")
    with start_script(OTHER, cwd=folder, environment=environment) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return [*out.splitlines(), errors]


def test_tuning_says_nothing_of_its_own(other: list[str]) -> None:
    """No line of Optuna and no warning of a fit is shown; both are as before, after an error too."""
    assert other[0] == "True"
    assert other[1] == "True True"
    assert other[-1] == ""


def test_tuning_draws_the_same_in_each_process(other: list[str]) -> None:
    """What is drawn depends on nothing of the process: not on its hashes, its time or its number."""
    tuned = search(trees(12)).tuned

    assert tuned is not None
    assert other[2] == str(tuned.to_json())


def test_declared_settings_win_where_none_is_better() -> None:
    """A search among poor settings makes nothing worse: the declared ones are fitted."""
    spaces = {"Ridge": {"alpha": (1e6, 1e7)}}
    trainer = declare_weight(candidates=[Ridge()], tuning=Tuning(trials=3, spaces=spaces))

    contest = search(trainer)

    assert contest.tuned is not None
    assert contest.chosen.name == "Ridge"
    assert contest.means["Ridge (tuned)"] > contest.means["Ridge"]


def test_declared_settings_win_where_the_search_finds_them_again() -> None:
    """Of equals the first declared is taken."""
    spaces = {"Ridge": {"alpha": [1.0]}}
    trainer = declare_weight(candidates=[Ridge()], tuning=Tuning(trials=1, spaces=spaces))

    contest = search(trainer)

    assert contest.means["Ridge (tuned)"] == contest.means["Ridge"]
    assert contest.chosen.name == "Ridge"


def test_tuned_settings_are_fitted_where_they_are_better() -> None:
    """The winner of the search is the one that is chosen, with its settings."""
    trainer = declare_weight(candidates=[Ridge(alpha=1e6)], tuning=Tuning(trials=8), folds=3)

    contest = search(trainer)

    assert contest.tuned is not None
    assert contest.chosen is contest.tuned.competitor
    assert contest.chosen.estimator.alpha == contest.tuned.parameters["alpha"] < 1e3


def test_tune_needs_a_declaration() -> None:
    """Nothing is searched that was not declared."""
    trainer = declare_weight()

    with pytest.raises(DeclarationError, match=r"expected Trainer\(tuning=Tuning"):
        tune(trainer, (), rows_of(trainer), (), {}, Steps.of(None, 1), study=None)


def test_trainer_tunes_the_whole_way(tmp_path: Path) -> None:
    """Settings that were found are in the bundle's evaluation, and the same run makes the same graph."""
    candidates = [HistGradientBoostingClassifier(max_iter=10)]
    spaces = {
        "HistGradientBoostingClassifier": {"max_leaf_nodes": (4, 8)},
        "LogisticRegression": {},
    }
    trainer = trees(candidates=candidates, tuning=Tuning(trials=3, spaces=spaces))

    made = [trainer.train(TABLE, study=tmp_path / f"{n}.study.jsonl") for n in range(2)]

    told = made[0].bundle.json("evaluation.json")["tuning"]
    assert list(told["parameters"]) == ["max_leaf_nodes"]
    assert told["trials"] == 3
    assert made[0].bundle.files["model.onnx"] == made[1].bundle.files["model.onnx"]


def test_trainer_refuses_a_study_before_it_fits_anything(tmp_path: Path) -> None:
    """Nobody waits for fits whose trials cannot be kept."""
    heard = Heard()
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2")

    with pytest.raises(DataError, match="is no study"):
        search(trees(), path, heard)

    assert heard.told == []
