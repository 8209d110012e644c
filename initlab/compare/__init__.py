"""Statistics over runs: arms by seeds, how sure their means are, and which of them cannot be told from the best."""
