"""Days on a real warehouse whose gate goes by the declared score."""

import numpy as np
import pytest

from diurnal.cli import run_results
from diurnal.data.train_test_split import assign_role
from projects import patients


def scored_by(project, scoring, declared="drop='ward'"):
    project.declare(declared)
    place = project.folder / "experiments" / "clinic.py"
    place.write_text(place.read_text().replace("cv=3)", f"cv=3, scoring={scoring})"))


def rare(date, *, blurred=False):
    """Give patients of whom few are ill; blurred, one of their features says nothing of it."""
    rows = patients(date, 2_000, shift=-2.2)
    if blurred:
        rows["pressure"] = rows["pressure"].sample(frac=1, random_state=0).to_numpy()
    return rows


def test_a_model_that_ranks_worse_is_refused_though_its_labels_hardly_differ(project, stores):
    scored_by(project, "'roc_auc'", "drop='ward', test_size=0.4")
    project.bring("2026-11-01", rare("2026-11-01"))
    project.run("2026-11-01", stores)
    learns_noise = rare("2026-11-02")
    train = np.array([assign_role([key], "clinic", 0.4) == "train" for key in learns_noise["patient"]])
    learns_noise.loc[train] = rare("2026-11-02", blurred=True).loc[train]
    project.bring("2026-11-02", learns_noise)
    done = project.run("2026-11-02", stores)
    found = done.run["comparison"]
    assert found["test"] == "DeLong"
    assert not done.promoted
    assert found["high"] < 0
    assert found["difference"] == pytest.approx(found["twin_score"] - found["champion_score"], abs=1e-9)
    assert found["n_tested"] == found["n_compared"] == done.run["n_test"]
    assert f"DeLong on {found['n_compared']} samples new to both" in done.reason
    assert "95 % interval" in run_results._comparison_field(done.run)[1]


def test_an_equal_model_is_promoted_by_guarded_and_not_by_superior(project, stores):
    scored_by(project, "'neg_log_loss'", "drop='ward', promotion='superior'")
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
    assert project.run("2026-11-01", stores).promoted, "there was no champion"
    again = project.run("2026-11-02", stores)
    assert again.run["comparison"]["test"] == "sign flips"
    assert not again.promoted
    assert again.reason.startswith("not better by more than chance")
    scored_by(project, "'neg_log_loss'", "drop='ward', promotion='guarded'")
    project.bring("2026-11-03")
    assert project.run("2026-11-03", stores).promoted


def test_a_score_that_is_undefined_on_the_new_rows_is_no_evidence(project, stores):
    scored_by(project, "'roc_auc'", "drop='ward', window=2")
    for date in ("2026-11-01", "2026-11-02"):
        rows = patients(date)
        if date == "2026-11-02":
            rows = rows[rows["ill"] == "no"]
        project.bring(date, rows)
        done = project.run(date, stores)
    assert done.run["comparison"] is None
    assert not done.promoted
    assert [w for w in done.run["warnings"] if "roc_auc is undefined on" in w and "champion 1 is not compared" in w]


def test_weights_count_in_the_test_as_in_the_score(project, stores):
    scored_by(project, "'accuracy'", "drop='ward', sample_weight='importance'")
    for date in ("2026-11-01", "2026-11-02"):
        rows = patients(date)
        project.bring(date, rows.assign(importance=np.arange(len(rows)) % 5 + 1))
        done = project.run(date, stores)
    found = done.run["comparison"]
    assert found["test"] == "sign flips"
    assert found["difference"] == pytest.approx(found["twin_score"] - found["champion_score"], abs=1e-9)
