"""Small modules that every package may import: seeds, password redaction, text formatting, process exit."""
