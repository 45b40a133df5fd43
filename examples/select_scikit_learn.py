"""A selection in scikit-learn: train a classifier on a chosen third of the rows.

Selectors have scikit-learn's manners: `clone`, `get_params`, `set_params`, fitted attributes that end in `_`. They are
no pipeline steps, because they change the number of rows: select first, then fit the pipeline on what was chosen.
"""

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import entropick as ep

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=600, random_state=0)

# Classes are the sources here: each gets the same number of rows.
template = ep.selectors.Greedy(n_samples=400, minimum="balanced", random_state=0)
rules = {"greedy, balanced": template, "random": ep.selectors.Random(n_samples=400, random_state=0)}

print(f"{len(X_train)} training rows, 400 of them chosen")
for name, rule in rules.items():
    selector = clone(rule).fit(X_train, y_train)
    rows = selector.indices_
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(X_train[rows], y_train[rows])
    counts = np.bincount(y_train[rows])
    accuracy = model.score(X_test, y_test)
    print(f"{name:17} {counts.min()} to {counts.max()} rows per class, accuracy {accuracy:.3f}")
