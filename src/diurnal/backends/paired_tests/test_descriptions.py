"""The names of the tests, as the warehouse has them, and what they are."""

from __future__ import annotations

DELONG = "DeLong"
EXACT = "exact McNemar"
FLIPS = "sign flips"
RESAMPLED = "paired bootstrap"

TEST_DESCRIPTIONS = {
    DELONG: "DeLong's test of two areas under the ROC curve",
    EXACT: "McNemar's exact test",
    FLIPS: "a permutation test of the differences (sign flips)",
    RESAMPLED: "a paired bootstrap",
}
"""What each test is, for sentences."""
