"""`python -m collab` is the command `collab`."""

from collab.cli import main

main()
