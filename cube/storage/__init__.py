"""Where a cube lies and how it is written: stores by URL, groups and arrays, documents, receipts, locks and releases."""
