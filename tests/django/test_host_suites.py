"""A site's own test suite runs with what `testing` gives it: Django's runner, and pytest.

The site is a small one in a folder of its own, without a registry and without a model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import pip_install

_ROOT = Path(__file__).parents[2]

SETTINGS = """
SECRET_KEY = "not a secret"
INSTALLED_APPS = ["mlembed_django"]
MIDDLEWARE = ["mlembed_django.middleware.PredictionMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "site_urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MLEMBED = {
    "REGISTRY": "https://models.example/",
    "LOG": False,
    "MODELS": {"churn": {"REF": "customers@champion"}},
    "DATABASE": {},
    "ACTIONS": "site_rules.RULES",
    "DESTINATIONS": {
        "crm": {
            "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
            "URL": "https://crm.example/hook",
            "SECRET": "whsec_c2VjcmV0LW9mLXRlc3RzLW9mLW1sZW1iZWQtMDE=",
        },
    },
}
"""

RULES = """
from mlembed_crm import Rule, rises_above

RULES = [
    Rule("call", model="customers", when=rises_above(0.8), destination="crm", payload={"list": "A"}),
]
"""

URLS = """
from django.http import JsonResponse
from django.urls import path


def score(request, pk):
    prediction = request.predictions["churn"].predict({"orders": 3}, key=str(pk))
    return JsonResponse({"score": prediction.score})


async def ascore(request, pk):
    prediction = await request.predictions["churn"].apredict({"orders": 3}, key=str(pk))
    return JsonResponse({"score": prediction.score})


urlpatterns = [path("<int:pk>", score), path("async/<int:pk>", ascore)]
"""

TESTS = """
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import SimpleTestCase, TestCase

from mlembed.errors import RegistryError
from mlembed_django.models import Delivery, Prediction
from mlembed_django.testing import (
    ActionAssertions,
    assertActionQueued,
    assertNoActionQueued,
    capture_actions,
    capture_predictions,
    override_model,
)


@override_model("churn", returns=0.9)
class WithDatabase(ActionAssertions, TestCase):
    def test_the_outbox_is_asserted(self):
        self.assertEqual(self.client.get("/17").json(), {"score": 0.9})

        action = self.assertActionQueued(rule="call", key=17, destination="crm", payload={"list": "A"})
        self.assertEqual(action.score, 0.9)
        self.assertEqual(Delivery.objects.count(), 1)
        self.assertEqual(Prediction.objects.get().key, "17")
        with self.assertRaisesMessage(AssertionError, "key='17' destination='crm'"):
            self.assertActionQueued(key=18)
        with self.assertRaises(AssertionError):
            self.assertNoActionQueued(rule="call")
        self.assertNoActionQueued(rule="write")

    def test_each_test_begins_with_an_empty_outbox(self):
        self.assertNoActionQueued()
        self.assertEqual(Prediction.objects.count(), 0)

    def test_an_action_rolls_back_with_the_hosts_rows(self):
        with self.assertRaises(ValueError), transaction.atomic():
            self.client.get("/17")
            self.assertActionQueued(key=17)
            raise ValueError("the host fails")

        self.assertNoActionQueued()

    def test_captured_actions_are_not_stored(self):
        with capture_actions() as actions:
            self.client.get("/17")
            self.client.get("/17")

            self.assertActionQueued(key=17)

        self.assertEqual([action.key for action in actions], ["17"])
        self.assertActionQueued(actions, rule="call")
        self.assertEqual(Delivery.objects.count(), 0)
        self.assertEqual(Prediction.objects.count(), 2)
        self.assertNoActionQueued()

    async def test_an_async_view_is_captured(self):
        with capture_actions() as actions, capture_predictions() as predictions:
            response = await self.async_client.get("/async/17")

        self.assertEqual(response.json(), {"score": 0.9})
        self.assertEqual([len(actions), len(predictions)], [1, 1])

    def test_nothing_is_delivered(self):
        self.client.get("/17")
        with self.assertRaisesMessage(CommandError, "tests deliver to this machine alone"):
            call_command("mlembed_deliver", once=True)


class WithoutDatabase(SimpleTestCase):
    @override_model("churn", returns=0.9)
    def test_actions_are_captured(self):
        with capture_actions() as actions:
            self.client.get("/17")
            assertActionQueued(key=17)

        assertActionQueued(actions, rule="call")

    @override_model("churn", returns=0.1)
    @capture_actions(kwarg_name="actions")
    async def test_no_action_is_captured(self, actions):
        await self.async_client.get("/async/17")
        self.assertEqual(actions, [])
        assertNoActionQueued()

    @override_model("churn", returns=0.9)
    def test_the_outbox_cannot_be_asserted(self):
        with self.assertRaisesMessage(AssertionError, "Put `with capture_actions():` around"):
            assertActionQueued(key=17)

    def test_the_registry_is_not_asked(self):
        with self.assertRaisesMessage(RegistryError, "override_model around the test"):
            self.client.get("/17")
"""

PYTEST = """
import pytest

from mlembed_django.conf import get_model


def test_models_are_overridden_by_a_dict(mlembed_models):
    mlembed_models({"churn": 0.9})
    assert get_model("churn").predict({}).score == 0.9
    mlembed_models({"churn": {"returns": 0.2, "label": False}})
    assert get_model("churn").predict({}).label is False
    mlembed_models({"churn": TimeoutError("late")})
    with pytest.raises(Exception, match="TimeoutError while predicting"):
        get_model("churn").predict({})
    with pytest.raises(TypeError, match="'churn' takes"):
        mlembed_models({"churn": {"score": 1}})


def test_predictions_and_actions_are_captured(mlembed_models, mlembed_predictions, mlembed_actions):
    mlembed_models({"churn": 0.9})
    get_model("churn").predict({}, key="17")
    assert [prediction.key for prediction in mlembed_predictions] == ["17"]
    assert [action.payload for action in mlembed_actions] == [{"list": "A"}]


def test_an_override_ends_with_its_test():
    with pytest.raises(OSError, match="which tests do not use"):
        get_model("churn").predict({})
"""

CONFTEST = """
import django
from django.test.utils import setup_test_environment

django.setup()
setup_test_environment()
"""

WITHOUT_DJANGO = """
import sys

import mlembed


def test_nothing_heavy_is_imported_by_the_plugin():
    assert not {"django", "numpy", "onnxruntime"} & set(sys.modules)


def test_models_go_by_the_registrys_names(mlembed_models, mlembed_predictions):
    mlembed_models({"customers": 0.9})
    assert mlembed.load("customers", registry="/nowhere").predict({}).score == 0.9
    assert len(mlembed_predictions) == 1


def test_actions_need_django(mlembed_actions):
    assert False, "not reached"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the small site into a folder; return it."""
    files = {"site_settings": SETTINGS, "site_rules": RULES, "site_urls": URLS, "tests": TESTS}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def run(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """Run Python with *command* in *folder*; return its exit status and all it printed."""
    kept = {
        k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    }
    paths = (folder, _ROOT, _ROOT / "integrations")
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env=kept | {"PYTHONPATH": os.pathsep.join(map(str, paths))} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_djangos_runner_runs_a_sites_tests(folder: Path) -> None:
    """TestCase, SimpleTestCase and async tests override and capture, and touch no network."""
    status, out = run(
        folder, "-m", "django", "test", "--verbosity", "1", DJANGO_SETTINGS_MODULE="site_settings"
    )

    assert status == 0, out
    assert "Ran 10 tests" in out


def pytest_in(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run pytest with the plugin in *folder*."""
    options = ("-q", "-p", "mlembed_django.pytest_plugin", "-p", "no:cacheprovider", *arguments)
    return run(folder, "-m", "pytest", *options, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", **variables)


def test_pytest_runs_a_sites_tests(folder: Path) -> None:
    """The fixtures override and capture, and end with their test."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_site.py").write_text(PYTEST)

    status, out = pytest_in(folder, "test_site.py", DJANGO_SETTINGS_MODULE="site_settings")

    assert status == 0, out
    assert "3 passed" in out


def test_pytest_runs_tests_without_django(tmp_path: Path) -> None:
    """The plugin imports nothing by itself, and says what its fixtures for Django need."""
    (tmp_path / "test_site.py").write_text(WITHOUT_DJANGO)

    status, out = pytest_in(tmp_path)

    assert status == 1, out
    assert "2 passed, 1 error" in out
    assert "mlembed_actions needs Django's settings; set DJANGO_SETTINGS_MODULE" in out


OUTBOX = """

def test_the_outbox_of_the_test_database(mlembed_models, mlembed_outbox, client):
    mlembed_models({"churn": 0.9})
    client.get("/17")
    assert [action.key for action in mlembed_outbox()] == ["17"]


def test_a_test_without_the_database(mlembed_models, client):
    mlembed_models({"churn": 0.9})
    assert client.get("/17").json() == {"score": 0.9}
"""


def test_pytest_django_runs_a_sites_tests(folder: Path) -> None:
    """The fixtures live beside those of pytest-django, with its database and without."""
    pip_install(sys.executable, "--no-deps", "--target", folder, "pytest-django")
    (folder / "test_site.py").write_text(PYTEST + OUTBOX)

    status, out = pytest_in(
        *(folder, "-p", "pytest_django.plugin", "tests.py", "test_site.py"),
        DJANGO_SETTINGS_MODULE="site_settings",
    )

    assert status == 0, out
    assert "15 passed" in out
