"""Usage by all services: the statistics of dataselect and of real-time streams side by side."""
