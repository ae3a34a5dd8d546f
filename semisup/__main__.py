"""`python -m semisup` and the `semisup` command."""

from __future__ import annotations

from semisup.cli.main import main

if __name__ == "__main__":
    main()
