"""What tunes, fits and scores: one module for each library that does."""
