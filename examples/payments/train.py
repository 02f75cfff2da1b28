"""Is a card payment fraud?

python simulate.py --rows 12000 --output history.csv
mlembed train train.py --data history.csv --registry file://$PWD/.registry --alias champion
"""

from __future__ import annotations

from record import TRANSFORMS, Payment
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlembed.training import Binary, TimeSplit, Trainer

trainer = Trainer(
    name="payments",
    record=Payment,
    transforms=TRANSFORMS,
    label=Binary("fraud", positive=True, threshold=0.3),
    candidates=[
        LogisticRegression(max_iter=2000),
        HistGradientBoostingClassifier(
            categorical_features="from_dtype", max_iter=100, max_leaf_nodes=15, learning_rate=0.1
        ),
    ],
    split=TimeSplit("at", test=0.25),
    metric="average_precision",
)
