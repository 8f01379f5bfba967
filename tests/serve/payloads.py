"""Request bodies for the workbench API: a fast forecast, and one that takes many seconds."""

SAMPLE = "sample:simulated_btc_1h"
SMALL = {"file_path": SAMPLE, "lookback": 64, "pred_len": 4, "sample_count": 2, "seed": 1}
LONG = {"file_path": SAMPLE, "lookback": 300, "pred_len": 190, "sample_count": 200}
