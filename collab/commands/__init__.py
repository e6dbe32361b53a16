"""What people do to documents that are at rest, from the command line; `collab.cli` puts the commands together.

Bound here: everything is read and written through the contract of the store, so that a server may run on it meanwhile;
and these modules import only what is light when they are imported, the rest when a command needs it.
"""
