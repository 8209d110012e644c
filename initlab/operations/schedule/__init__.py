"""Scheduled studies: each firing starts once across all schedulers, is resumed after a stop, and is compared."""
