"""Documentation of each task, as Airflow's UI shows it.

A table, as the docstrings of :mod:`diurnal.pipeline.steps` are not available when a Dag file is parsed: importing that
module costs more than the rest of the parse.
"""

from __future__ import annotations

STEP_DOCS = {
    "storage": "Prepare the storage: read the settings, migrate the warehouse's tables and create the folders.",
    "fetch": "Fetch the batch of the data interval, validate it against the contract and store it in the lake.",
    "save_batch": "Copy the batch to the warehouse, where the view `batch_data_<experiment>` shows it. Score the "
    "predictions whose truth it has.",
    "split": "Split each batch of the window into train and test samples.",
    "tune": "Find the best candidate by cross-validation on the train samples, and fit it on them: the twin.",
    "cut_shards": "Split the fits of the search into shards. Each shard becomes a mapped task.",
    "score_shard": "Run the fits of one shard of the search.",
    "evaluate": "Score the twin on the test samples, and compare it with the champion on those of the new batch.",
    "record": "Write the best parameters, the training conditions and the scores to the table `experiments`.",
    "refit": "Fit the best candidate on all rows of the window, and save the model.",
    "publish": "Register the saved model as a new version.",
    "promote": "Make the version, or the challenger, the champion, if the promotion policy allows it.",
}
