"""The report of a study: one page that opens from the disk, with tables and figures beside it."""
