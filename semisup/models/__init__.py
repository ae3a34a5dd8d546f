"""Networks: one file per architecture, and the parts that several share."""
