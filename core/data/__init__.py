"""Pictures and captions: index, buckets, splits, order, report. No torch here."""
