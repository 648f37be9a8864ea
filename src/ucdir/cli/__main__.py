"""`python -m ucdir.cli`, the same as `ucdir`."""

from ucdir.cli.app import main

main()
