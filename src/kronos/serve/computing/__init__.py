"""What computes: threads, models, the queue of forecasts, jobs, answers that are kept."""
