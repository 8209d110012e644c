"""The local append-only spool of a run: files, records, and the values that may be sent."""
