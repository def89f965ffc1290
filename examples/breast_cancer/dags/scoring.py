"""A second Dag, for example of another team: it predicts all tumours with each new champion."""

from pathlib import Path

from airflow.sdk import dag, task

from diurnal.airflow import champion, load_model

BREAST_CANCER = champion("breast_cancer")


@dag(schedule=[BREAST_CANCER], tags=["diurnal"], doc_md=__doc__)
def scoring():
    """Predict with each new champion."""

    @task
    def predict(*, triggering_asset_events=None):
        """Write the predictions of the new champion into data/predictions/<version>.csv."""
        from diurnal.sources import SklearnDataset

        events = triggering_asset_events.get(BREAST_CANCER)  # none if the run or the event was created manually
        version = events[-1].extra.get("version", "champion") if events else "champion"
        model = load_model(f"breast_cancer@{version}", beside=__file__)
        tumours = SklearnDataset("breast_cancer").read(None, {})
        tumours["predicted"] = model.predict(tumours.drop(columns="label"))
        target = Path(__file__).parents[1] / "data" / "predictions" / f"{version}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        tumours[["label", "predicted"]].to_csv(target, index=False)
        return {"version": version, "n_rows": len(tumours), "file": str(target)}

    predict()


scoring()
