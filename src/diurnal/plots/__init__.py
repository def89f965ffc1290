"""Charts of recorded results, for notebooks, the page and reports."""
