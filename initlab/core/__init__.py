"""What every room may use and what imports no other room but `spec`: seeds, redaction of passwords, text, exit."""
