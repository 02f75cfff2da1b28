"""The errors mlembed raises.

    MlembedError
    ├── SettingsError         (ValueError)   a setting or reference is malformed
    ├── DeclarationError      (TypeError)    a Record, transform or trainer declares the impossible
    ├── MissingExtraError     (ImportError)  an optional library is not installed
    ├── SchemaError           (ValueError)   a record does not fit what the bundle takes
    ├── InferenceError        (RuntimeError) the graph failed on a record that fits
    │   ├── PredictionTimeoutError (TimeoutError) it was stopped after `timeout_ms`
    │   └── CircuitOpenError                 it failed so often that it is left alone for a while
    ├── OutcomeError          (ValueError)   a reported outcome cannot be joined to a prediction
    ├── BundleError           (ValueError)   a bundle is malformed
    │   ├── IntegrityError                   its bytes are not the bytes that were published
    │   │   ├── SignatureError               nobody trusted signed it
    │   │   └── PointerError                 an alias's pointer is old, forked or far ahead
    │   └── GoldenError                      it does not reproduce its own golden rows
    ├── RegistryError         (OSError)      a registry cannot be read or written
    │   ├── ExpiredError                     an alias's pointer was not renewed in time
    │   ├── NotFoundError     (LookupError)  no such model, version or alias
    │   └── ConflictError                    someone else published or promoted first
    ├── TrainingError         (RuntimeError) the offline trainer stopped
    │   ├── DataError         (ValueError)   the table cannot be trained on
    │   ├── LoweringError     (TypeError)    an estimator has no exact ONNX form
    │   ├── ProofError                       graph and estimator disagree
    │   └── GateError                        the candidate is not good enough to publish
    └── MonitoringError       (RuntimeError) the prediction log cannot be judged

Every message says where, what was expected and the remedy; none shows a field's value,
because messages end in logs and records hold personal data. Every error survives pickling.
"""

from __future__ import annotations

_MAX_SHOWN = 200  # characters of another's error


class MlembedError(Exception):
    """Base of every error mlembed raises."""


class SettingsError(MlembedError, ValueError):
    """A setting or a model reference is malformed."""


class DeclarationError(MlembedError, TypeError):
    """A Record, transform or trainer declares what cannot be served."""


class MissingExtraError(MlembedError, ImportError):
    """An optional library is needed and not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(purpose, extra)
        self.purpose = purpose
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.purpose} needs the extra '{self.extra}': pip install 'mlembed[{self.extra}]'"


class SchemaError(MlembedError, ValueError):
    """A record does not fit the bundle's columns or tensors.

    Attributes:
        bundle: The bundle, as `name@version`.
        problems: One sentence a bad field, none with its value.
    """

    def __init__(self, bundle: str, problems: tuple[str, ...]) -> None:
        super().__init__(bundle, problems)
        self.bundle = bundle
        self.problems = problems

    def __str__(self) -> str:
        return (
            f"record does not fit {self.bundle}: {'; '.join(self.problems)}. "
            f"What it takes: python -m mlembed inspect {self.bundle}"
        )


class InferenceError(MlembedError, RuntimeError):
    """The graph failed on a record that fits its columns."""


class PredictionTimeoutError(InferenceError, TimeoutError):
    """The graph took longer than `timeout_ms` and was stopped."""


class CircuitOpenError(InferenceError):
    """The graph failed so often in a row that it is left alone for a while."""


class OutcomeError(MlembedError, ValueError):
    """A reported outcome says nothing or cannot be joined to a prediction."""


class BundleError(MlembedError, ValueError):
    """A bundle is malformed."""


class IntegrityError(BundleError):
    """A bundle's bytes are not the bytes that were published."""


class SignatureError(IntegrityError):
    """Nobody whom this host trusts signed it as it is."""


class PointerError(IntegrityError):
    """An alias's pointer does not follow from what this host has seen: old, forked or far ahead."""


class GoldenError(BundleError):
    """A bundle does not reproduce its own golden rows on this machine."""


class RegistryError(MlembedError, OSError):
    """A registry cannot be read or written."""


class ExpiredError(RegistryError):
    """An alias's pointer has expired: nobody renewed it, or somebody holds newer ones back."""


class NotFoundError(RegistryError, LookupError):
    """A registry holds no such model, version or alias."""


class ConflictError(RegistryError):
    """Another publisher came first; nothing was changed."""


class TrainingError(MlembedError, RuntimeError):
    """The offline trainer stopped; nothing was published."""


class DataError(TrainingError, ValueError):
    """The table cannot be trained on."""


class LoweringError(TrainingError, TypeError):
    """An estimator or transform has no exact ONNX form."""


class ProofError(TrainingError):
    """Graph and estimator disagree, so the bundle would be wrong.

    Attributes:
        group: What the rows probe.
        rows: Positions within the group of the first rows that differ.
        node: Tensor of the first graph node that differs; empty where none could be named.
        what: What that tensor should be.
        difference: Largest difference of the scores.
    """

    group: str = ""
    rows: tuple[int, ...] = ()
    node: str = ""
    what: str = ""
    difference: float = 0.0


class GateError(TrainingError):
    """The candidate is not good enough to be published."""


class MonitoringError(MlembedError, RuntimeError):
    """The prediction log cannot be judged."""


def first_line(error: Exception) -> str:
    """Return the beginning of what *error* says, for an error of ours that names it as its cause."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_MAX_SHOWN]
