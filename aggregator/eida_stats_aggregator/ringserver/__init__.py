"""The command `ringserverstats`: streaming statistics of a node from the logs of its ringservers."""
