"""``python -m fedrec``."""

from fedrec.cli import main

if __name__ == "__main__":
    main()
