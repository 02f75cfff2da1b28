"""Who earns more than 50,000 USD a year?

    mlembed train examples/income/train.py --data adult.data --test adult.test \
        --registry file://$PWD/.registry --alias champion

The census files are in the UCI repository: https://archive.ics.uci.edu/dataset/2/adult
"""

from __future__ import annotations

from record import TRANSFORMS, Person
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlembed.training import Binary, Cleaning, RandomSplit, Trainer

trainer = Trainer(
    name="income",
    record=Person,
    transforms=TRANSFORMS,
    label=Binary("Y", positive=(">50K", ">50K.")),  # the official test file ends in full stops
    cleaning=Cleaning(
        missing=("?",),
        rename={
            "education-num": "education_num",
            "marital-status": "marital_status",
            "capital-gain": "capital_gain",
            "capital-loss": "capital_loss",
            "hours-per-week": "hours_per_week",
            "native-country": "native_country",
        },
    ),
    candidates=[
        LogisticRegression(max_iter=1000),
        HistGradientBoostingClassifier(
            categorical_features="from_dtype", learning_rate=0.06, max_iter=300, max_leaf_nodes=24
        ),
    ],
    split=RandomSplit(test=0.25, reason="the census is one moment; its rows have no time"),
    metric="roc_auc",
)
