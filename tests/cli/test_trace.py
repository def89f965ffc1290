"""``diurnal trace`` and ``diurnal live-scores``: what is known of a sample, and how right predictions were."""

import json

import pytest

import diurnal
from diurnal.errors import NotFoundError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.scored_batches import score_batch
from projects import day, patients

TRAINED, SCORED = "2026-11-01", "2026-11-02"
PATIENT = f"{SCORED}-0042"


def score(project, stores, **options):
    return score_batch(RunContext(project.experiment(), day(SCORED), stores, requested_by="a test"), **options)


@pytest.fixture
def scored(project, stores):
    """A project whose first version has predicted a day before its labels came, and whose second one has since."""
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    project.bring(SCORED, patients(SCORED).drop(columns="ill"))
    score(project, stores)
    project.bring(SCORED)
    project.run(SCORED, stores)
    score(project, stores, version=2, rescore=True)
    return project


def test_trace_and_live_scores_of_a_sample_that_was_predicted_and_learnt(scored, stores, monkeypatch):
    printed = scored.command("trace", "clinic", PATIENT, "--json")
    assert printed.returncode == 0, printed.stderr
    found = json.loads(printed.stdout)
    assert found["key"] == {"patient": PATIENT}
    first, second = found["predictions"]
    truth = patients(SCORED).set_index("patient")["ill"][PATIENT]
    assert [(one["version"], one["truth"], one["in_sample"]) for one in (first, second)] == [
        (1, truth, False),
        (2, truth, True),
    ]
    assert first["visible_until"] == second["visible_from"] > first["visible_from"]
    assert second["visible_until"] is None
    shown = stores.warehouse.predictions("clinic").to_pandas().set_index("patient").loc[PATIENT]
    assert second["prediction"] == shown["prediction"]
    assert second["probabilities"] == {"no": shown["probability_no"], "yes": shown["probability_yes"]}
    runs = {row["model_version"]: row for row in stores.warehouse.runs("clinic")}
    for version in found["versions"]:
        run = runs[version["version"]]
        assert (version["run_id"], version["code_digest"]) == (run["run_id"], run["code_digest"])
        assert [one["digest"] for one in version["batches"]] == [one["digest"] for one in run["packages"]]
    assert [(one["version"], one["has_predicted"], one["has_learnt"]) for one in found["versions"]] == [
        (1, True, False),
        (2, True, True),
    ]
    assert {(one["role"], one["n_rows"], one["is_current"]) for one in found["rows"]} >= {("batch", 1, True)}
    assert len(found["rows"]) == 2

    text = scored.command("trace", "clinic", f"patient={PATIENT}").stdout
    assert f"predictions of patient={PATIENT}" in text
    assert runs[2]["run_id"] in text

    listed = json.loads(scored.command("live-scores", "clinic", "--json").stdout)
    assert [(row["version"], row["n_labelled"], row["n_in_sample"]) for row in listed] == [(1, 240, 0), (2, 240, 240)]
    monkeypatch.setenv("DIURNAL_WAREHOUSE", scored.warehouse_url)
    frame = diurnal.live_scores("clinic", project=scored.folder)
    assert frame["score"].tolist()[:1] == frame["score_accuracy"].tolist()[:1] == [listed[0]["score"]]
    assert diurnal.live_scores("clinic", since="2026-11-03", project=scored.folder).empty
    assert diurnal.trace("clinic", PATIENT, project=scored.folder)["predictions"][0]["truth"] == truth


def test_predictions_that_are_visible_again_have_both_periods(scored, stores):
    for version in (1, 2, 2):  # the last one changes nothing
        score(scored, stores, version=version, rescore=True)
    found = json.loads(scored.command("trace", "clinic", PATIENT, "--json").stdout)["predictions"]
    assert [one["version"] for one in found] == [1, 2, 1, 2]
    assert found[1]["load_id"] == found[3]["load_id"]
    starts, ends = ([one[name] for one in found] for name in ("visible_from", "visible_until"))
    assert ends == [*starts[1:], None]
    assert starts == sorted(set(starts))


def test_unknown_keys_and_experiments(project, stores, monkeypatch):
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    nothing = project.command("trace", "clinic", "nobody")
    assert (nothing.returncode, nothing.stdout) == (0, "nothing is stored of patient=nobody in clinic\n")
    wrong = project.command("trace", "clinic", "a=1", "b=2")
    assert wrong.returncode == 2
    assert "the key has the columns patient; given: 'a=1 b=2'\nhint: write VALUE" in wrong.stderr
    assert project.command("live-scores", "clinic").stdout == "none\n"
    monkeypatch.setenv("DIURNAL_WAREHOUSE", project.warehouse_url)
    with pytest.raises(NotFoundError, match="no batch of clinic was ever scored"):
        diurnal.live_scores("clinic", project=project.folder)
