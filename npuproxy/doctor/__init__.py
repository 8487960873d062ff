"""Looks at everything that a server needs on this machine, and says how to mend what is wrong."""
