"""Garbage collection: finds and deletes files that are no longer needed, by the rules of `conf/gc`."""

from initlab.operations.gc.candidates import Candidate, Rules, delete, find_candidates

__all__ = ["Candidate", "Rules", "delete", "find_candidates"]
