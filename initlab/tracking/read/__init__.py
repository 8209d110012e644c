"""Reading runs, curves and artifacts back from the store; reopening a run to resume it."""
