"""``python -m vqkit``: the same as ``vqkit``."""

import sys

from vqkit.cli import main

sys.exit(main())
