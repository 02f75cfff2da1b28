"""Which customers will not order again within 60 days?

    python manage.py histories var/histories.csv
    mlembed train train.py --data var/histories.csv --registry file://$PWD/var/registry --alias champion

A row is a customer at the first of a month: what was known then, and whether an order followed.
"""

from __future__ import annotations

from backoffice.record import TRANSFORMS, History
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlembed.training import Binary, Gates, TimeSplit, Trainer

HORIZON_SECONDS = 60 * 86_400

trainer = Trainer(
    name="churn",
    record=History,
    transforms=TRANSFORMS,
    label=Binary("left", positive=True),
    candidates=[
        LogisticRegression(max_iter=2000),
        HistGradientBoostingClassifier(
            categorical_features="from_dtype", max_iter=80, max_leaf_nodes=12, learning_rate=0.08
        ),
    ],
    # The label of a row looks 60 days ahead, so rows that near the held-out ones are left out.
    split=TimeSplit("at", test=0.25, gap_seconds=HORIZON_SECONDS),
    entity="customer",
    metric="roc_auc",
    gates=Gates(floor=0.65),
)
