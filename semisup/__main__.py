"""`python -m semisup` and the `semisup` command."""

from __future__ import annotations

import os

if "TORCHELASTIC_RUN_ID" in os.environ:
    # Before torch is imported: each process would warn of what
    # `system.distributed.Gradients` wants.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from semisup.cli.main import main

if __name__ == "__main__":
    main()
