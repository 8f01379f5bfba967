"""Reports of trainings: one self-contained HTML page per run, and an overview of several."""
