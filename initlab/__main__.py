"""`python -m initlab` is the same command as `initlab`."""

from initlab.cli.main import entry

if __name__ == "__main__":
    entry()
