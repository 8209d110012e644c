"""Upkeep of spools and stores: sync after a crash, duplicates, retention."""
