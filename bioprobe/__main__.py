"""Run the command line with ``python -m bioprobe``."""

from bioprobe.cli.app import main

if __name__ == "__main__":
    main()
