"""Where results are kept: datasets in the lake, rows in the warehouse, model files."""
