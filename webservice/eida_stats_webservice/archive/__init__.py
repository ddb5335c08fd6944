"""The catalogue of the nodes' archives: paths, metadata, times of streams, and the bytes that nodes hold."""
