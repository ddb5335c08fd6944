"""Live connections: how many clients or people are in a space, now and at any moment in the past."""
