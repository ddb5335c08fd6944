"""The crawl of an archive: its file format, which the node writes and the centre reads."""
