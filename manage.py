#!/usr/bin/env python3
"""The command line of npuproxy: `python manage.py help`."""

import sys

if sys.version_info < (3, 11):
    sys.exit("npuproxy needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])

if __name__ == "__main__":
    from npuproxy.commandline import main

    main(sys.argv)
