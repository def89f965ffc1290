"""Another program, which predicts with the champion: it knows the model's name, and nothing of how it was made."""

import diurnal
from diurnal.sources import SklearnDataset

model = diurnal.load_model("breast_cancer@champion")
tumours = SklearnDataset("breast_cancer").read(None, {}).head(5)
features = tumours.drop(columns="label")

print("\nThe champion, loaded by another program, on five tumours:\n")
for truth, said, probability in zip(
    tumours["label"], model.predict(features), model.predict_proba(features).max(axis=1), strict=True
):
    print(f"  predicted {said:<10} with probability {probability:.3f}   (it is {truth})")
