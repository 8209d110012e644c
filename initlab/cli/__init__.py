"""Command-line interface: one file a command; `main` holds the table of commands."""
