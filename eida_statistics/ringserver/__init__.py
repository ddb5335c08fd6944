"""Transfer logs of ringserver: from the log to the payload of a day. Nodes and the centre both need it."""
