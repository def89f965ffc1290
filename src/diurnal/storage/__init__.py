"""The stores: packages in the lake, rows in the warehouse, and model files."""
