# SPDX-License-Identifier: Apache-2.0
"""Writes Tests/TasksTests/Resources/metrics.json: predictions with the values that scikit-learn and SciPy give them.

    python3 -m venv venv && venv/bin/pip install numpy scipy scikit-learn
    venv/bin/python scripts/metrics/make_fixture.py > Tests/TasksTests/Resources/metrics.json
"""

import json
import random
import warnings

import scipy
import scipy.stats
import sklearn
from sklearn import metrics

warnings.filterwarnings("ignore")


def of_classes(predicted, actual):
    values = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "macro_f1": metrics.f1_score(actual, predicted, average="macro", zero_division=0),
        "matthews": metrics.matthews_corrcoef(actual, predicted),
    }
    if max(predicted + actual) <= 1:
        values["f1"] = metrics.f1_score(actual, predicted, pos_label=1, zero_division=0)
    return {"predicted": predicted, "actual": actual, "values": values}


def of_numbers(predicted, actual):
    values = {
        "pearson": scipy.stats.pearsonr(predicted, actual)[0],
        "spearman": scipy.stats.spearmanr(predicted, actual)[0],
    }
    # JSON has no NaN.
    values = {key: None if value != value else float(value) for key, value in values.items()}
    return {"predicted": predicted, "actual": actual, "values": values}


def main():
    draw = random.Random(1)
    cases = []
    for classes, rows in [(2, 1), (2, 7), (2, 200), (3, 50), (5, 300)]:
        for share in [0.0, 0.3, 0.9]:
            actual = [draw.randrange(classes) for _ in range(rows)]
            predicted = [a if draw.random() < share else draw.randrange(classes) for a in actual]
            cases.append(of_classes(predicted, actual))
    # One side of one class, nothing of class 1, a class that is predicted only, all wrong.
    cases.append(of_classes([1, 1, 1, 1], [1, 0, 1, 0]))
    cases.append(of_classes([1, 0, 1, 0], [1, 1, 1, 1]))
    cases.append(of_classes([0, 0, 0], [0, 0, 0]))
    cases.append(of_classes([0, 2, 1, 2], [0, 1, 1, 0]))
    cases.append(of_classes([1, 0, 1, 0], [0, 1, 0, 1]))
    for rows in [2, 5, 100, 1000]:
        actual = [round(draw.uniform(0, 5), 3) for _ in range(rows)]
        predicted = [round(0.5 * a + draw.gauss(0, 1), 4) for a in actual]
        cases.append(of_numbers(predicted, actual))
    # Many equal numbers, all equal ones, large ones with small differences.
    cases.append(of_numbers([draw.randrange(4) / 2 for _ in range(100)], [draw.randrange(6) for _ in range(100)]))
    cases.append(of_numbers([2.5] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]))
    cases.append(of_numbers([0.1] * 11, [round(draw.random(), 3) for _ in range(11)]))
    cases.append(of_numbers([1e6 + draw.random() for _ in range(50)], [draw.random() for _ in range(50)]))
    cases.append(of_numbers([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]))
    versions = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__}
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    print('{"versions": ' + json.dumps(versions) + ', "cases": [\n' + lines + "\n]}")


main()
