"""`python -m pb_cli` is `pb`."""

from pb_cli.app import main

main()
