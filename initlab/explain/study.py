"""What explains a study's ranking."""
