"""Commands on many runs: `semisup runs` and `semisup compare`."""
