"""What went wrong and what to try: rules over a profile, remedies, trainability before training."""
