"""Curves of runs as a picture: `python docs/curves.py OUT.png RUN [RUN ...]`.

Of folders of runs their health, of kept files (docs/measurements/NAME.jsonl) their pseudo-labels;
semisup/studies/curves.py says what is drawn.
"""

from __future__ import annotations

import sys

from semisup.studies.curves import main

if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
