"""The report of a training: one self-contained HTML page with tables and figures."""
