"""Will this machine fail?

    mlembed train examples/maintenance/train.py --data ai4i2020.csv \
        --registry file://$PWD/.registry --alias champion --report maintenance.html

The table is AI4I 2020 of the UCI repository: https://archive.ics.uci.edu/dataset/601
Five of its columns say why a machine failed. They stand in the record on purpose: the leakage check
finds four of them, which give the label away, by itself; the fifth, RNF, hardly tells anything, and is
named as what the host will not have. The model is trained without them.
"""

from __future__ import annotations

from record import TRANSFORMS, Machine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlembed.training import (
    Binary,
    ByCapacity,
    Cleaning,
    Gates,
    Leakage,
    RandomSplit,
    Trainer,
)

trainer = Trainer(
    name="maintenance",
    record=Machine,
    transforms=TRANSFORMS,
    label=Binary("Machine failure", positive=1),
    cleaning=Cleaning(
        rename={
            "Type": "type",
            "Air temperature": "air_temperature",
            "Process temperature": "process_temperature",
            "Rotational speed": "rotational_speed",
            "Torque": "torque",
            "Tool wear": "tool_wear",
        },
        unique=("UDI",),
    ),
    leakage=Leakage(action="drop", absent=["RNF"]),
    candidates=[
        LogisticRegression(max_iter=2000),
        HistGradientBoostingClassifier(
            categorical_features="from_dtype",
            learning_rate=0.05,
            max_iter=200,
            max_leaf_nodes=8,
            min_samples_leaf=10,
            l2_regularization=1.0,
        ),
    ],
    split=RandomSplit(test=0.2, reason="each row is a run of its own, and none has a time"),
    metric="average_precision",
    threshold=ByCapacity(share=0.04),  # as many machines as the workshop can look at
    gates=Gates(floor=0.7),
)
