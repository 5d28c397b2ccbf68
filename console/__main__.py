"""`python -m console` is the `walmedic` command."""

from console.cli import main

main()
