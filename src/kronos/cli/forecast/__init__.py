"""``kronos forecast``: its options, the run, the files it writes and its terminal view."""
