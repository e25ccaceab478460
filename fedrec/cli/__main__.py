"""``python -m fedrec.cli``."""

from fedrec.cli.app import main

if __name__ == "__main__":
    main()
