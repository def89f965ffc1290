"""A program that predicts with the champion; it needs only the name of the model."""

import diurnal
from diurnal.sources import SklearnDataset

model = diurnal.load_model("breast_cancer@champion")
tumours = SklearnDataset("breast_cancer").read(None, {}).head(5)
features = tumours.drop(columns="label")

print("\nPredictions of the champion for five tumours:\n")
for truth, predicted, probability in zip(
    tumours["label"], model.predict(features), model.predict_proba(features).max(axis=1), strict=True
):
    print(f"  predicted {predicted:<10} with probability {probability:.3f}   (true label: {truth})")
