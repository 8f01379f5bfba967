"""Walk-forward evaluation: runs, scores with uncertainty, verdicts in words."""
