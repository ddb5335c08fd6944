"""Reports: the statistics of a period as a document, in several formats."""
