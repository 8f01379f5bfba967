"""Training: objectives, the loop, checkpoints, monitors, LoRA, several models at once."""
