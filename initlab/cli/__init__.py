"""The command line: one file a command. `main` holds the table of commands and dispatches."""
