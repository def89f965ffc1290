"""``python -m diurnal`` is the command line."""

from diurnal.cli import main

if __name__ == "__main__":
    main()
