"""The web page of all experiments, and reports."""
